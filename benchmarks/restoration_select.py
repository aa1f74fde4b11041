"""Thresholds of seven ratios against a plain pass over the same files: CPU time, and memory beyond the mapped files.

  python benchmarks/restoration_select.py [--layers 10 20] [--repeats 3]

The plain pass reads both files and computes r, nothing else: `tuned` in the pieces and the memory of the library, the
fastest way known to us, `by tensor` as one would write it down, a tensor at a time. Models are synthetic, in bf16.
"""

from pathlib import Path

import _restoration as common
import torch

from sftlens.config.stages.restoration import RestorationSettings
from sftlens.restoration import criteria, topk
from sftlens.restoration.pairs import PIECE
from sftlens.restoration.ranking import relative_change, signed_change_

EPSILON = 1e-8


def tuned(place: Path) -> None:
    """Compute r of every element, piece by piece in the same memory."""
    both = common.pair(place)
    p, s = torch.empty(2, PIECE)
    for name in both.names:
        tensors = (folder.get(name).view(-1).split(PIECE) for folder in (both.base, both.finetuned))
        for base, finetuned in zip(*tensors, strict=True):
            n = len(base)
            signed_change_(p[:n].copy_(base), s[:n].copy_(finetuned), EPSILON).abs_()


def by_tensor(place: Path) -> None:
    """Compute r of every element, tensor by tensor."""
    both = common.pair(place)
    for name in both.names:
        relative_change(both.base.get(name), both.finetuned.get(name), EPSILON)


def thresholds(place: Path) -> None:
    """Find the cuts of seven ratios."""
    topk.select(common.pair(place), criteria.make("relative", RestorationSettings()), common.RATIOS)


PARTS = {"tuned": tuned, "by tensor": by_tensor, "select": thresholds}


def compare(place: Path, repeats: int) -> None:
    """Print the ratios for one pair of models."""
    elements = common.pair(place).elements()
    found = common.measured(PARTS, place, repeats)
    times = {part: run["cpu"] for part, run in found.items()}
    for part in ("tuned", "by tensor"):
        print(f"{elements / 1e6:.0f} M ranked: select / plain pass ({part}) = {times['select'] / times[part]:.2f}")
    print(f"  memory of select beyond mapped files: {found['select']['memory'] / 1e6:.0f} MB")
    print("  CPU ns per element: " + ", ".join(f"{part} {t / elements * 1e9:.2f}" for part, t in times.items()))


if __name__ == "__main__":
    common.run(__doc__, [10, 20], PARTS, compare)
