"""Writing safetensors files tensor by tensor, so that no more than one tensor need be in memory."""

import json
import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import torch

from sftlens import files
from sftlens.models.safetensors_reader import INDEX, SINGLE

SHARD_BYTES = 5 * 10**9
"""Largest weight file, unless one tensor alone is larger (the size at which transformers splits too)."""
TYPES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.uint8: "U8",
}
"""The types that are written, in the words of the format."""


@dataclass(frozen=True)
class TensorSpec:
    """What the header of a file says about one tensor."""

    name: str
    """Its name."""
    shape: tuple[int, ...]
    """Its shape."""
    dtype: torch.dtype
    """Its type, one of TYPES."""

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


class TensorWriter:
    """One safetensors file whose tensors are given one after another; it appears, whole, when the block ends.

    What `specs` announces must be written in that order. Where the block fails, or ends before the last
    tensor, the file does not appear.
    """

    def __init__(self, path: Path, specs: Sequence[TensorSpec], metadata: dict[str, str] | None = None) -> None:
        self._path, self._specs, self._metadata = path, specs, metadata
        self._written = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            partial = stack.enter_context(files.atomic_path(self._path))
            self._file: BinaryIO = stack.enter_context(partial.open("wb"))
            self._file.write(_header(self._specs, self._metadata))
            self._stack = stack.pop_all()
        return self

    def write(self, tensor: torch.Tensor) -> None:
        """Write the next tensor, from any device. Raises ValueError when it is not the one announced."""
        if self._written == len(self._specs):
            raise ValueError(f"{self._path}: more tensors than announced ({len(self._specs)})")
        spec = self._specs[self._written]
        if tuple(tensor.shape) != spec.shape or tensor.dtype != spec.dtype:
            raise ValueError(f"{self._path}: {spec} was announced, {tuple(tensor.shape)} {tensor.dtype} came")
        with files.naming(self._path):
            self._file.write(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        self._written += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._abandon(error)
            return
        try:
            self._finish()
        except BaseException as failure:
            self._abandon(failure)
            raise
        self._stack.close()

    def _finish(self) -> None:
        if self._written < len(self._specs):
            raise ValueError(f"{self._path}: {self._written} of {len(self._specs)} tensors came")
        with files.naming(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())

    def _abandon(self, error: BaseException) -> None:
        with suppress(OSError):  # closing writes what is buffered, which fails again on a full disk
            self._stack.__exit__(type(error), error, error.__traceback__)


def write_weights(
    folder: Path, specs: Sequence[TensorSpec], tensors: Iterable[torch.Tensor], shard_bytes: int = SHARD_BYTES
) -> None:
    """Write a checkpoint's weights into an existing folder, split over several files with an index when large.

    Args:
        folder: where `model.safetensors`, or its parts and their index, are made.
        specs: the tensors in the order in which they come; each file holds a stretch of it.
        tensors: gives them one by one; each is asked for when the one before is on disk.
        shard_bytes: largest file.
    """
    shards = _shards(specs, shard_bytes)
    names = [SINGLE] if len(shards) == 1 else [_part(i, len(shards)) for i in range(len(shards))]
    coming = iter(tensors)
    for name, shard in zip(names, shards, strict=True):
        with TensorWriter(folder / name, shard, {"format": "pt"}) as writer:
            for _ in shard:
                writer.write(next(coming))
    if len(shards) > 1:
        where = {spec.name: name for name, shard in zip(names, shards, strict=True) for spec in shard}
        total = sum(spec.nbytes for spec in specs)
        files.write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": where})


def _part(number: int, parts: int) -> str:
    return f"model-{number + 1:05d}-of-{parts:05d}.safetensors"


def _shards(specs: Sequence[TensorSpec], limit: int) -> list[list[TensorSpec]]:
    shards: list[list[TensorSpec]] = [[]]
    size = 0
    for spec in specs:
        if shards[-1] and size + spec.nbytes > limit:
            shards.append([])
            size = 0
        shards[-1].append(spec)
        size += spec.nbytes
    return shards


def _header(specs: Sequence[TensorSpec], metadata: dict[str, str] | None) -> bytes:
    entries: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    offset = 0
    for spec in specs:
        place = [offset, offset + spec.nbytes]
        entries[spec.name] = {"dtype": TYPES[spec.dtype], "shape": list(spec.shape), "data_offsets": place}
        offset += spec.nbytes
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of eight
    return len(text).to_bytes(8, "little") + text
