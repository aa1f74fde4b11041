"""What fine-tuning changed, by tensor, and how much of it the elements that a criterion ranks first hold (Table 3)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from sftlens.errors import ModelError
from sftlens.restoration.criteria import Criterion
from sftlens.restoration.cuts import Cut, levels
from sftlens.restoration.pairs import Pair
from sftlens.restoration.ranking import relative_change
from sftlens.restoration.regions import layer_of, module_of
from sftlens.restoration.topk import keys_of

RATIOS = (1.0, 3.0, 5.0, 10.0, 20.0, 40.0, 60.0)
"""The paper's k of Table 3, percent."""
SUMS = ("sum_r", "sum_abs_d", "sum_d2")
"""Relative change r (fp32, summed in fp64), |s - p| and (s - p)^2 (both fp64)."""
COLUMNS = ("name", "layer", "module", "elements", "unchanged", *SUMS)


def top(ratio: float) -> str:
    """Return the column that counts a tensor's elements among the first `ratio` % of the region."""
    return f"top_{ratio:g}"


@dataclass(frozen=True)
class Concentration:
    """Sums of change in a region, by tensor and by cut."""

    tensors: pd.DataFrame
    """One row per tensor, columns COLUMNS, then `top(ratio)` of each ratio; no `layer` outside the blocks;
    `unchanged` counts s == p."""
    shares: dict[float, dict[str, float]]
    """Share (0..1) of each of SUMS held by each ratio's elements; empty where nothing changed at all."""


def measure(pair: Pair, criterion: Criterion, cuts: Sequence[Cut], epsilon: float) -> Concentration:
    """Return how the change in `pair` is spread (one pass).

    Args:
        pair: the parameters of the region.
        criterion: the one that made `cuts`.
        cuts: by increasing ratio.
        epsilon: of the relative change.

    Raises:
        ModelError: NaN or Inf in the weights, or a sum too large for a number.
    """
    ratios = [cut.ratio for cut in cuts]
    rows, levels = [], np.zeros((len(cuts) + 1, len(SUMS)))
    for name in pair.names:
        sums, counts, unchanged = of_tensor(pair, criterion, cuts, epsilon, name)
        if not np.isfinite(sums).all():
            raise ModelError(f"{pair.finetuned.folder}: the change of {name!r} overflows; fetch the model again")
        own = (name, layer_of(name), module_of(name), pair.size(name), unchanged, *sums.sum(axis=0))
        rows.append((*own, *np.cumsum(counts)[:-1]))
        levels += sums
    table = pd.DataFrame(rows, columns=[*COLUMNS, *map(top, ratios)]).astype({"layer": "Int64"})
    return Concentration(table, shares(ratios, np.cumsum(levels, axis=0)))


def of_tensor(
    pair: Pair, criterion: Criterion, cuts: Sequence[Cut], epsilon: float, name: str
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return one tensor's sums, float64 [len(cuts) + 1, len(SUMS)], and elements, both by level; and the unchanged."""
    number = len(cuts) + 1
    sums, counts, unchanged = np.zeros((number, len(SUMS))), np.zeros(number, dtype=np.int64), 0
    for piece in pair.of(name, pair.finetuned.get(name)):
        level = levels(cuts, name, keys_of(criterion, piece), piece.start)
        for column, values in enumerate(changes(piece.base, piece.finetuned, epsilon)):
            sums[:, column] += torch.bincount(level, values, minlength=number).cpu().numpy()
        counts += torch.bincount(level, minlength=number).cpu().numpy()
        unchanged += int((piece.finetuned == piece.base).sum())
    return sums, counts, unchanged


def changes(base: Tensor, values: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return r, |s - p| and (s - p)^2 of `values` s against `base` p, float64, in the order of SUMS."""
    d = values.double() - base.double()
    return relative_change(base, values, epsilon).double(), d.abs(), d.square()


def shares(ratios: Sequence[float], held: np.ndarray) -> dict[float, dict[str, float]]:
    """Return the share of each sum: `held`, float64 [len(ratios) + 1, len(SUMS)], by ratio and at last in total."""
    if not held[-1].all():
        return {}
    rows = [dict(zip(SUMS, map(float, row), strict=True)) for row in held[:-1] / held[-1]]
    return dict(zip(ratios, rows, strict=True))
