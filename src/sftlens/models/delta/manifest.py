"""The record of a delta checkpoint, delta.json: what it was made from, and which files it stands for."""

import os
from pathlib import Path
from typing import Any

from sftlens.errors import ModelError
from sftlens.files import read_json, write_json

RECORD = "delta.json"
"""Stands in the folder of a delta, beside configuration and tokenizer."""
DATA = "delta.bin"
"""The differences, compressed."""
SCHEMA = 1
KEYS = ("base", "bytes", "files", "tensors")


def is_delta(folder: Path) -> bool:
    """Whether a model folder holds a delta instead of weights."""
    return (folder / RECORD).is_file()


def read(folder: Path) -> dict[str, Any]:
    """Return the record of a delta whose data has the recorded size. Raises ModelError, DataError."""
    path, data = folder / RECORD, folder / DATA
    if not path.is_file():
        raise ModelError(f"{folder}: {RECORD} is missing, so this is no delta; give a folder of one")
    record = read_json(path)
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise ModelError(f"{path}: key 'schema' is not {SCHEMA}; read it with the version of sftlens that wrote it")
    for key in KEYS:
        if key not in record:
            raise ModelError(f"{path}: key {key!r} is missing; make the delta again from the fine-tuned model")
    found = data.stat().st_size if data.is_file() else 0
    if found != record["bytes"]:
        raise ModelError(
            f"{data}: has {found} bytes of {record['bytes']}; it is truncated or damaged: copy both files again, or "
            "make the delta again"
        )
    return record


def base_of(folder: Path) -> Path:
    """Return the base model of a delta: a folder or a base.json pointer. Raises ModelError when it is not there."""
    path = folder / read(folder)["base"]["path"]
    if not path.exists():
        raise ModelError(
            f"{folder / RECORD}: key 'base.path' names {path}, which does not exist; restore the base model, or write "
            "its place there, relative to the delta's folder"
        )
    return path


def relative(base: Path, folder: Path) -> str:
    """Return the path of a base model as seen from the folder of a delta."""
    return os.path.relpath(os.path.realpath(base), os.path.realpath(folder))


def point(folder: Path, base: Path) -> None:
    """Record where the base model of a delta lies, as seen from where the delta lies now."""
    record = read(folder)
    record["base"]["path"] = relative(base, folder)
    write_json(folder / RECORD, record)
