"""Which folder a model is, what it holds, and the content hash that stands for it; no tensor is read here."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sftlens.errors import ModelError
from sftlens.files import read_json, sha256, write_json
from sftlens.models.delta import manifest

MANIFEST = "sftlens.json"
"""Record of a checkpoint's files, written into the folder by whoever made it."""
TOKENIZER = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt", "chat_template*")
"""Patterns of a tokenizer's files."""
CONFIGURATION = ("config.json", "generation_config.json")
PUBLISHING_SECONDS = 2.0
"""Files of one publication may be this much younger than the record among them."""


def resolve(path: Path) -> Path:
    """Return the Hugging Face folder behind `path`: the folder itself, or what a base.json pointer names."""
    if path.is_dir():
        return path
    if path.suffix == ".json" and path.is_file():
        pointer = read_json(path)
        if not isinstance(pointer, dict) or not isinstance(pointer.get("path"), str):
            raise ModelError(f"{path}: key 'path' is missing, so this is no pointer to a model; rerun the base stage")
        target = path.parent / pointer["path"]
        if target.is_dir():
            return target
        raise ModelError(f"{path}: key 'path' names {target}, which does not exist; restore it or rerun the base stage")
    raise ModelError(f"{path}: no such model folder; give a Hugging Face folder with config.json and *.safetensors")


def describe(folder: Path) -> dict[str, dict[str, Any]]:
    """Return size (bytes) and SHA-256 of each file of a checkpoint, by name; of a delta, of the files it stands for."""
    paths = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    described = {p.name: {"bytes": p.stat().st_size, "sha256": sha256(p)} for p in paths if p.name != manifest.DATA}
    if described.pop(manifest.RECORD, None):
        for name, file in manifest.read(folder)["files"].items():
            described[name] = {key: file[key] for key in ("bytes", "sha256")}
    return described


def write_manifest(folder: Path) -> dict[str, Any]:
    """Record each file's size and hash in the folder itself, so that the weights need not be hashed again."""
    described = describe(folder)
    write_json(folder / MANIFEST, {"files": described})
    return described


def identity(path: Path) -> str:
    """Return a content hash of the model behind a folder or pointer, wherever it lies, as weights or as a delta."""
    hashes = {name: entry["sha256"] for name, entry in contents(path).items()}
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


def contents(path: Path) -> dict[str, dict[str, Any]]:
    """Return what `describe` does of the model behind a folder or pointer, without the record of its files.

    The hashes on record (in base.json, or in the folder itself) are used as long as every file has its
    recorded size and is no younger than the record; otherwise the files are hashed again.
    """
    folder = resolve(path)
    files = _recorded(path if path.is_file() else path / MANIFEST, folder) or describe(folder)
    return {name: entry for name, entry in files.items() if name != MANIFEST}


def _recorded(record: Path, folder: Path) -> dict[str, Any] | None:
    """Return the files on record, None when there is no record or a file has changed since."""
    if not record.is_file():
        return None
    files: dict[str, Any] = read_json(record).get("files") or {}
    limit = record.stat().st_mtime + PUBLISHING_SECONDS
    for name, entry in files.items():
        path = folder / name
        if name != MANIFEST and (
            not path.is_file() or path.stat().st_size != entry["bytes"] or path.stat().st_mtime > limit
        ):
            return None
    return files


def copy_matching(source: Path, patterns: Iterable[str], target: Path) -> None:
    """Copy the files of the folder `source` whose names match one of some glob patterns into the folder `target`."""
    for path in {path for pattern in patterns for path in source.glob(pattern) if path.is_file()}:
        shutil.copyfile(path, target / path.name)


def make_readable(folder: Path) -> None:
    """Give every file of a folder the ordinary mode; safetensors writes 0600."""
    mask = os.umask(0)
    os.umask(mask)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o666 & ~mask)
