"""Sizes of several lossless codings of a fine-tuned model's weights, given its base, as shares of their bytes.

python benchmarks/delta_codings.py BASE FINETUNED [--dtype bfloat16]
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import numpy as np
import torch
import zstandard

from sftlens import delta_coding
from sftlens.checkpoints import open_tensors
from sftlens.delta_tensors import base_pieces


def codings(base: Path, finetuned: Path, dtype: torch.dtype | None) -> dict[str, float]:
    """Return the share of the tensors' bytes that each coding takes."""
    before, after = open_tensors(base), open_tensors(finetuned)
    sizes: Counter[str] = Counter()
    for name in after.names:
        for old, new in base_pieces(before.get(name), after.get(name).to(dtype)):
            p, s = (piece.view(delta_coding.INTEGERS[piece.element_size()]).numpy() for piece in (old, new))
            difference = s - p
            zigzag = (difference << 1) ^ (difference >> (8 * s.itemsize - 1))
            sizes["plain"] += s.nbytes
            sizes["difference, planes (ours)"] += len(delta_coding.encode(new, old))
            for level in (1, 3, 9):
                compress = zstandard.ZstdCompressor(level=level).compress
                sizes[f"exclusive or, planes, level {level}"] += len(compress(planes(p ^ s)))
                sizes[f"difference, planes, level {level}"] += len(compress(planes(zigzag)))
                sizes[f"difference, no planes, level {level}"] += len(compress(zigzag.tobytes()))
                sizes[f"whole, planes, level {level}"] += len(compress(planes(s)))
    return {coding: size / sizes["plain"] for coding, size in sizes.items()}


def planes(patterns: np.ndarray) -> bytes:
    """Return the bytes of equal rank together."""
    return np.ascontiguousarray(patterns.view(np.uint8).reshape(len(patterns), -1).T).tobytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path, help="folder or base.json of the base model")
    parser.add_argument("finetuned", type=Path, help="folder of the fine-tuned model")
    parser.add_argument("--dtype", help="cast both models to this type first")
    args = parser.parse_args()
    dtype = getattr(torch, args.dtype) if args.dtype else None
    for coding, share in codings(args.base, args.finetuned, dtype).items():
        print(f"{share:.4f}  {coding}")


if __name__ == "__main__":
    main()
