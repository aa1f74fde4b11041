"""What fine-tuning changed, by tensor, and how much of it the first elements of an order hold (Table 3)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from sftlens.errors import ModelError
from sftlens.restoration.cuts import Cut, levels
from sftlens.restoration.orders import Order
from sftlens.restoration.orders.relative import relative_change
from sftlens.restoration.pairs import Pair, Piece
from sftlens.restoration.regions import layer_of, module_of
from sftlens.restoration.selection import keys_of

RATIOS = (1.0, 3.0, 5.0, 10.0, 20.0, 40.0, 60.0)
"""The paper's k of Table 3, percent."""
SUMS = ("sum_r", "sum_abs_d", "sum_d2")
"""Relative change r (fp32, summed in fp64), |s - p| and (s - p)^2 (both fp64)."""
COLUMNS = ("name", "layer", "module", "elements", "unchanged", *SUMS)


@dataclass(frozen=True)
class Concentration:
    """Sums of change in a region, by tensor and by cut."""

    tensors: pd.DataFrame
    """One row per tensor, columns COLUMNS; no `layer` outside the blocks; `unchanged` counts s == p."""
    shares: dict[float, dict[str, float]]
    """Share (0..1) of each of SUMS held by each ratio's elements; empty where nothing changed at all."""


def measure(pair: Pair, order: Order, cuts: Sequence[Cut], epsilon: float) -> Concentration:
    """Return how the change in `pair` is spread (one pass).

    Args:
        pair: the parameters of the region.
        order: the order that made `cuts`.
        cuts: by increasing ratio.
        epsilon: of the relative change.

    Raises:
        ModelError: NaN or Inf in the weights, or a sum too large for a number.
    """
    rows, levels = [], np.zeros((len(cuts) + 1, len(SUMS)))
    for name in pair.names:
        sums, unchanged = of_tensor(pair, order, cuts, epsilon, name)
        if not np.isfinite(sums).all():
            raise ModelError(f"{pair.finetuned.folder}: the change of {name!r} overflows; fetch the model again")
        rows.append((name, layer_of(name), module_of(name), pair.size(name), unchanged, *sums.sum(axis=0)))
        levels += sums
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"layer": "Int64"})
    return Concentration(table, shares([cut.ratio for cut in cuts], levels))


def of_tensor(pair: Pair, order: Order, cuts: Sequence[Cut], epsilon: float, name: str) -> tuple[np.ndarray, int]:
    """Return one tensor's sums, float64 [len(cuts) + 1, len(SUMS)] by level, and its unchanged elements."""
    sums, unchanged = np.zeros((len(cuts) + 1, len(SUMS))), 0
    for piece in pair.of(name, pair.finetuned.get(name)):
        level = levels(cuts, name, keys_of(order, piece), piece.start)
        for column, values in enumerate(changes(piece, epsilon)):
            sums[:, column] += torch.bincount(level, values, minlength=len(cuts) + 1).cpu().numpy()
        unchanged += int((piece.finetuned == piece.base).sum())
    return sums, unchanged


def changes(piece: Piece, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return r, |s - p| and (s - p)^2 of a piece, float64, in the order of SUMS."""
    d = piece.finetuned.double() - piece.base.double()
    return relative_change(piece.base, piece.finetuned, epsilon).double(), d.abs(), d.square()


def shares(ratios: Sequence[float], levels: np.ndarray) -> dict[float, dict[str, float]]:
    """Return the share of each sum up to each level of `levels`, float64 [len(ratios) + 1, len(SUMS)]."""
    total = levels.sum(axis=0)
    if not total.all():
        return {}
    held = np.cumsum(levels, axis=0) / total
    rows = [dict(zip(SUMS, map(float, row), strict=True)) for row in held[:-1]]
    return dict(zip(ratios, rows, strict=True))
