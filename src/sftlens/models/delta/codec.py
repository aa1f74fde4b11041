"""Bit patterns of tensors as differences from those of other tensors, compressed without loss.

A pattern is read as a signed integer. Fine-tuning moves most elements by few patterns or not at all, so that the
differences of the integers (modulo their width) are small; an exclusive or, which carries make large, took 5 to 14 %
more bytes on the demo's models (benchmarks/delta_codings.py). Zigzag puts the sign into the lowest bit; then the
bytes of equal rank stand together (byte planes), most of the upper ones are zero, and Zstandard takes the rest.
"""

from collections.abc import Iterator

import numpy as np
import torch
import zstandard
from torch import Tensor

PIECE = 1 << 18
"""Elements that are compressed together; part of the format."""
LEVEL = 1
"""Zstandard's level; 9 made deltas 1 to 4 % smaller for five times the time (benchmarks/delta_codings.py)."""
INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def pieces(tensor: Tensor) -> Iterator[Tensor]:
    """Yield a tensor flattened, PIECE elements at a time."""
    yield from tensor.reshape(-1).split(PIECE)


def cast(base: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the base's elements in the type that they were trained in; NaN becomes 0, the same on every machine."""
    if base.dtype == dtype:
        return base
    return base.to(dtype).nan_to_num_(nan=0.0, posinf=torch.inf, neginf=-torch.inf)


def encode(tensor: Tensor, base: Tensor | None) -> bytes:
    """Return the patterns of `tensor`, 1-D, as compressed differences from those of `base`, of its type and length.

    None stands for a base of zeros.
    """
    patterns = _patterns(tensor)
    if base is not None:
        difference = patterns - _patterns(base)
        patterns = (difference << 1) ^ (difference >> (8 * difference.itemsize - 1))
    unsigned = patterns.view(f"u{patterns.itemsize}")
    planes = np.empty((patterns.itemsize, len(patterns)), np.uint8)  # the bytes of each rank, lowest first
    for rank, plane in enumerate(planes):
        plane[:] = (unsigned >> (8 * rank)).astype(np.uint8)
    return compress(planes.data)


def decode(frame: bytes, base: Tensor | None, out: Tensor) -> None:
    """Write into `out`, 1-D, the tensor that `encode` was given. Raises ValueError when `frame` is damaged."""
    signed = _patterns(out)
    patterns = signed.view(f"u{signed.itemsize}")
    planes = np.frombuffer(decompress(frame, signed.nbytes), np.uint8).reshape(signed.itemsize, -1)
    patterns[:] = planes[0]
    for rank, plane in enumerate(planes[1:], start=1):
        patterns |= plane.astype(patterns.dtype) << (8 * rank)
    if base is not None:
        negative = -(signed & 1)
        patterns >>= 1
        signed ^= negative
        signed += _patterns(base)


def compress(data: bytes | memoryview) -> bytes:
    """Return one Zstandard frame that tells its size."""
    return zstandard.ZstdCompressor(level=LEVEL).compress(data)


def decompress(frame: bytes, size: int) -> bytes:
    """Return the `size` bytes of a frame. Raises ValueError when it is damaged or holds another number."""
    try:
        if zstandard.frame_content_size(frame) != size:
            raise ValueError("another size")
        return zstandard.ZstdDecompressor().decompress(frame, max_output_size=size)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from None


def _patterns(tensor: Tensor) -> np.ndarray:
    return tensor.view(INTEGERS[tensor.element_size()]).numpy()
