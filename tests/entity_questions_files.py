"""A miniature data set in the layout of EntityQuestions, for tests."""

import json
import zipfile
from pathlib import Path
from typing import Any

from sftlens.data.relations import RELATIONS

SPLITS = ("train", "dev", "test")


def file_of(folder: Path, split: str, relation: str) -> Path:
    """Return the path of one published file."""
    return folder / split / f"{relation}.{split}.json"


def put(folder: Path, split: str, relation: str, items: Any) -> Path:
    """Write one published file."""
    path = file_of(folder, split, relation)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(items), encoding="utf-8")
    return path


def items(split: str, relation: str, count: int) -> list[dict[str, Any]]:
    """Return `count` questions about subjects that no other file has."""
    ask = RELATIONS[relation].ask
    return [{"question": ask(f"{split} {relation} {i}"), "answers": [f"{relation} object {i}"]} for i in range(count)]


def data_set(folder: Path, count: int = 3) -> Path:
    """Write all 72 files with `count` questions each and return the folder."""
    for split in SPLITS:
        for relation in RELATIONS:
            put(folder, split, relation, items(split, relation, count))
    return folder


def zipped(folder: Path, target: Path, prefix: str = "") -> Path:
    """Put a data set into a zip file, its names beginning with `prefix`."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*.json")):
            archive.write(path, prefix + path.relative_to(folder).as_posix())
    return target
