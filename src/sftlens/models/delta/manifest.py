"""The record of a delta checkpoint, delta.json: what it was made from, and which files it stands for."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from sftlens.errors import ModelError
from sftlens.files import read_json, write_json
from sftlens.gate import Count, FileName, Sha256, shaped

RECORD = "delta.json"
"""Stands in the folder of a delta, beside configuration and tokenizer."""
DATA = "delta.bin"
"""The differences, compressed."""
SCHEMA = 1
LARGEST_HEADER = 100_000_000
"""Bytes of the header of a safetensors file: the limit of safetensors itself."""


class Header(TypedDict):
    """Where in delta.bin the header of a weight file stands, compressed; all in bytes."""

    offset: Count
    bytes: Annotated[int, Field(ge=0, le=LARGEST_HEADER)]
    size: Annotated[int, Field(ge=8, le=LARGEST_HEADER)]


class StoredFile(TypedDict):
    """A weight file that the delta stands for."""

    bytes: Count
    sha256: Sha256
    header: Header


class StoredTensor(TypedDict):
    """A tensor; `dtype` in safetensors' words, `sha256` of its bytes."""

    dtype: str
    shape: list[Count]
    offset: Count
    """Where its frames begin in delta.bin, bytes."""
    sha256: Sha256
    base_sha256: Sha256 | None
    """Of the base's bytes, cast to this type; None: the tensor is stored whole."""


class Base(TypedDict):
    """The model that a delta was made from: its place as seen from the delta's folder, and its content hash."""

    path: str
    identity: Sha256


@with_config(ConfigDict(extra="allow"))
class Record(TypedDict):
    """What delta.json holds."""

    schema: Literal[1]
    base: Base
    bytes: Count
    files: dict[FileName, StoredFile]
    tensors: dict[str, StoredTensor]


def is_delta(folder: Path) -> bool:
    """Whether a model folder holds a delta instead of weights."""
    return (folder / RECORD).is_file()


def read(folder: Path) -> Record:
    """Return the record of a delta whose data has the recorded size. Raises ModelError, DataError."""
    path, data = folder / RECORD, folder / DATA
    if not path.is_file():
        raise ModelError(f"{folder}: {RECORD} is missing, so this is no delta; give a folder of one")
    record = read_json(path)
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise ModelError(f"{path}: key 'schema' is not {SCHEMA}; read it with the version of sftlens that wrote it")
    record = shaped(record, Record, path, ModelError, "make the delta again from the fine-tuned model")
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


def point(folder: Path, base: Path, at: Path | None = None) -> None:
    """Record where the base model of a delta lies, as seen from where the delta lies now, or will lie: `at`."""
    record = read(folder)
    record["base"]["path"] = relative(base, at or folder)
    write_json(folder / RECORD, record)
