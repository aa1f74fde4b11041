"""Which folder a model is, what it holds, and the content hash that stands for it; no tensor is read here."""

import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from sftlens import files, gate
from sftlens.errors import ModelError
from sftlens.models.delta import manifest
from sftlens.models.sources import gguf

MANIFEST = "sftlens.json"
"""List of a checkpoint's files, for whoever copies it; no part of the model, and never believed."""
TOKENIZER = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt", "chat_template*")
"""Patterns of a tokenizer's files."""
CONFIGURATION = ("config.json", "generation_config.json")
ORIGIN = "origin.json"
"""Says what a model folder was made from, where that is not to be seen in it: `{"origin": sentence}`."""
LFS_START, LFS_BYTES = b"version https://git-lfs", 1024
"""How a pointer of git-lfs begins, and what it is always shorter than."""


class Pointer(TypedDict):
    """What a base.json must hold: the place of a model folder, as seen from the file."""

    path: str


class Origin(TypedDict):
    """What ORIGIN holds."""

    origin: str


def resolve(path: Path) -> Path:
    """Return the Hugging Face folder behind `path`: itself, what a base.json pointer names, or a GGUF file's model."""
    if path.is_dir():
        return path
    if path.suffix == ".gguf" and path.is_file():
        return gguf.folder(path)
    if path.suffix == ".json" and path.is_file():
        remedy = "this is no pointer to a model: give one, or rerun the base stage"
        pointer = gate.shaped(files.read_json(path), Pointer, path, ModelError, remedy)
        target = path.parent / pointer["path"]
        if target.is_dir():
            return target
        raise ModelError(f"{path}: key 'path' names {target}, which does not exist; restore it or rerun the base stage")
    raise ModelError(
        f"{path}: no such model folder; give a Hugging Face folder with config.json and *.safetensors, or a .gguf file"
    )


def refuse_pointer(path: Path) -> None:
    """Raise ModelError for a file that git-lfs has not fetched: a text of three lines stands in its place."""
    if path.is_file() and path.stat().st_size < LFS_BYTES and path.read_bytes().startswith(LFS_START):
        raise ModelError(
            f"{path}: is a pointer of git-lfs, not the file itself; fetch it with `git lfs pull` in that folder, or "
            "with `hf download`"
        )


def describe(folder: Path) -> dict[str, dict[str, Any]]:
    """Return size (bytes) and SHA-256 of each file of a checkpoint, by name; of a delta, of the files it stands for."""
    paths = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    left = {MANIFEST} | ({manifest.DATA, manifest.RECORD} if manifest.is_delta(folder) else set())
    found = {p.name: {"bytes": p.stat().st_size, "sha256": files.known_sha256(p)} for p in paths if p.name not in left}
    if manifest.RECORD in left:
        for name, file in manifest.read(folder)["files"].items():
            found[name] = {"bytes": file["bytes"], "sha256": file["sha256"]}
    return found


def write_manifest(folder: Path) -> dict[str, Any]:
    """List each file's size and hash in the folder itself, and return the list."""
    described = describe(folder)
    files.write_json(folder / MANIFEST, {"files": described})
    return described


def origin(path: Path) -> str | None:
    """Return the sentence in ORIGIN of the model behind a folder, pointer or GGUF file; None where it has none."""
    record = resolve(path) / ORIGIN
    return str(files.read_json(record, Origin, ModelError)["origin"]) if record.is_file() else None


def identity(path: Path) -> str:
    """Return a content hash of the model behind a folder or pointer, wherever it lies, as weights or as a delta."""
    hashes = {name: entry["sha256"] for name, entry in describe(resolve(path)).items()}
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


def copy_matching(source: Path, patterns: Iterable[str], target: Path) -> None:
    """Copy the files of the folder `source` whose names match one of some glob patterns into the folder `target`."""
    for path in {path for pattern in patterns for path in source.glob(pattern) if path.is_file()}:
        shutil.copyfile(path, target / path.name)
