"""Writing safetensors files tensor by tensor, so that no more than one tensor need be in memory."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from sftlens import files
from sftlens.models.safetensors_reader import INDEX, SINGLE, TYPES, framed, raw_bytes

SHARD_BYTES = 5 * 10**9
"""Largest weight file, unless one tensor alone is larger (the size at which transformers splits too)."""
_WORDS = {dtype: word for word, dtype in TYPES.items()}


@dataclass(frozen=True)
class TensorSpec:
    """What the header of a file says about one tensor, which is of one of TYPES."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


def write_file(
    path: Path, specs: Sequence[TensorSpec], tensors: Iterable[torch.Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write one safetensors file, atomically and synced to disk; one tensor is in memory at a time.

    Raises ValueError when other tensors come than `specs` announces, and OSError when the disk is full: the file then
    does not appear.
    """
    coming = iter(tensors)
    with files.atomic_path(path) as partial, partial.open("wb") as out:
        out.write(header(specs, metadata))
        for number, spec in enumerate(specs):
            tensor = next(coming, None)
            if tensor is None:
                raise ValueError(f"{path}: {number} of {len(specs)} tensors came")
            if tuple(tensor.shape) != spec.shape or tensor.dtype != spec.dtype:
                raise ValueError(f"{path}: {spec} was announced, {tuple(tensor.shape)} {tensor.dtype} came")
            out.write(raw_bytes(tensor.detach().cpu()))
            del tensor  # else it lives on while the next one is made
        if next(coming, None) is not None:
            raise ValueError(f"{path}: more tensors than announced ({len(specs)})")
        out.flush()
        os.fsync(out.fileno())


def write_weights(
    folder: Path, specs: Sequence[TensorSpec], tensors: Iterable[torch.Tensor], shard_bytes: int = SHARD_BYTES
) -> None:
    """Write a checkpoint's weights into an existing folder: `model.safetensors`, or its parts and their index.

    `tensors` gives those of `specs` one by one, in their order; each is made when the one before is written. A file of
    at most `shard_bytes` holds consecutive ones.
    """
    shards: list[list[TensorSpec]] = [[]]
    for spec in specs:
        if shards[-1] and sum(other.nbytes for other in shards[-1]) + spec.nbytes > shard_bytes:
            shards.append([])
        shards[-1].append(spec)
    parts = len(shards)
    names = [SINGLE] if parts == 1 else [f"model-{i + 1:05d}-of-{parts:05d}.safetensors" for i in range(parts)]
    coming = iter(tensors)
    for name, shard in zip(names, shards, strict=True):
        write_file(folder / name, shard, islice(coming, len(shard)), {"format": "pt"})
    if parts > 1:
        where = {spec.name: name for name, shard in zip(names, shards, strict=True) for spec in shard}
        total = sum(spec.nbytes for spec in specs)
        files.write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": where})


def header(
    specs: Sequence[TensorSpec], metadata: Mapping[str, str] | None, separators: tuple[str, str] = (",", ":")
) -> bytes:
    """Return the bytes that stand before the data of tensors in this order; `separators` are those of its JSON."""
    entries: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for spec in specs:
        extent = [offset, offset + spec.nbytes]
        entries[spec.name] = {"dtype": _WORDS[spec.dtype], "shape": list(spec.shape), "data_offsets": extent}
        offset += spec.nbytes
    return framed(json.dumps(entries, separators=separators))
