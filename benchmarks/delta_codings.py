"""Several lossless codings of a fine-tuned model's weights, given its base: share of their bytes, CPU time.

python benchmarks/delta_codings.py BASE FINETUNED [--dtype bfloat16]
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import numpy as np
import torch
import zstandard

from sftlens.models.delta import codec
from sftlens.models.delta.reader import base_pieces, open_tensors

LEVELS = (1, 3, 9)


def patterns(piece: torch.Tensor) -> np.ndarray:
    """Return the bit patterns of a piece as signed integers."""
    return piece.view(codec.INTEGERS[piece.element_size()]).numpy()


def planes(values: np.ndarray) -> bytes:
    """Return the bytes of equal rank together."""
    return np.ascontiguousarray(values.view(np.uint8).reshape(len(values), -1).T).tobytes()


def coded(p: np.ndarray, s: np.ndarray) -> dict[str, bytes]:
    """Return what is compressed, by coding."""
    difference = s - p
    zigzag = (difference << 1) ^ (difference >> (8 * s.itemsize - 1))
    return {
        "difference, planes": planes(zigzag),
        "difference": zigzag.tobytes(),
        "exclusive or, planes": planes(p ^ s),
        "whole, planes": planes(s),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path, help="folder or base.json of the base model")
    parser.add_argument("finetuned", type=Path, help="folder of the fine-tuned model")
    parser.add_argument("--dtype", help="cast both models to this type first")
    args = parser.parse_args()
    before, after = open_tensors(args.base), open_tensors(args.finetuned)
    sizes, seconds, elements, whole = Counter[str](), Counter[str](), 0, 0
    for name in after.names:
        tuned = after.get(name).to(getattr(torch, args.dtype) if args.dtype else None)
        for old, new in base_pieces(before.get(name), tuned):
            elements, whole = elements + new.numel(), whole + new.nbytes
            for coding, data in coded(patterns(old), patterns(new)).items():
                for level in LEVELS:
                    start = time.process_time()
                    sizes[f"{coding}, level {level}"] += len(zstandard.ZstdCompressor(level=level).compress(data))
                    seconds[f"{coding}, level {level}"] += time.process_time() - start
    for coding, size in sizes.items():
        print(f"{size / whole:.4f}  {seconds[coding] / elements * 1e9:5.1f} ns per element  {coding}")


if __name__ == "__main__":
    main()
