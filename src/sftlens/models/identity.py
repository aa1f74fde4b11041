"""What a model folder holds, and the content hash that stands for it."""

import hashlib
import json
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from sftlens import files
from sftlens.errors import ModelError, SftlensError
from sftlens.models.delta import manifest
from sftlens.models.folders import resolve

MANIFEST = "sftlens.json"
"""List of a checkpoint's files, for whoever copies it; no part of the model, and never believed."""
TOKENIZER = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt", "chat_template*")
"""Patterns of a tokenizer's files."""
CONFIGURATION = ("config.json", "generation_config.json")
ORIGIN = "origin.json"
"""Says what a model folder was made from, where that is not to be seen in it: `{"origin": sentence}`."""


class Origin(TypedDict):
    """What ORIGIN holds."""

    origin: str


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
    """Return a content hash of the model behind a folder or pointer, wherever it lies, as weights or as a delta.

    Raises ModelError where a delta is not what it says.
    """
    folder = resolve(path)
    if manifest.is_delta(folder):
        from sftlens.models.delta import reader  # torch is loaded where there is a delta

        reader.verify(folder)
    hashes = {name: entry["sha256"] for name, entry in describe(folder).items()}
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


def stated_type(path: Path) -> str | None:
    """Return the type that config.json says the weights behind a folder or pointer are of; None where it says none."""
    with suppress(SftlensError):
        config = files.read_json(resolve(path) / "config.json", dict[str, Any], finite=False)
        found = config.get("dtype", config.get("torch_dtype"))
        return found if found in ("float32", "bfloat16", "float16") else None
    return None


def copy_matching(source: Path, patterns: Iterable[str], target: Path) -> None:
    """Copy the files of the folder `source` whose names match one of some glob patterns into the folder `target`."""
    for path in {path for pattern in patterns for path in source.glob(pattern) if path.is_file()}:
        shutil.copyfile(path, target / path.name)
