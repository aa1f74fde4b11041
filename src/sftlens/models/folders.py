"""Which folder a model is, and files in it that are none."""

from pathlib import Path

from typing_extensions import TypedDict

from sftlens import files, gate
from sftlens.errors import ModelError
from sftlens.models.sources import gguf

LFS_START, LFS_BYTES = b"version https://git-lfs", 1024
"""How a pointer of git-lfs begins, and what it is always shorter than."""


class Pointer(TypedDict):
    """What a base.json must hold: the place of a model folder, as seen from the file."""

    path: str


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
