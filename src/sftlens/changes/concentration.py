"""What fine-tuning changed: what the elements ranked first hold (Table 3), and where it lies (Tables 9, 10)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from sftlens.errors import ModelError
from sftlens.restoration.criteria import Criterion
from sftlens.restoration.cuts import Cut, levels
from sftlens.restoration.pairs import Pair
from sftlens.restoration.ranking import SUMS, change_sizes
from sftlens.restoration.regions import layer_of, module_of
from sftlens.restoration.topk import keys_of

RATIOS = (1.0, 3.0, 5.0, 10.0, 20.0, 40.0, 60.0)
"""The paper's k of Table 3, percent."""
ZERO_BASE = "zero_base"
"""Elements whose base is exactly 0: 1 / epsilon of them stands in the sum of r. Before SUMS: what they hold of each."""
HELD = tuple(f"{ZERO_BASE}_{name}" for name in SUMS)
COLUMNS = ("name", "layer", "module", "elements", "unchanged", *SUMS, ZERO_BASE, *HELD)


def top(ratio: float) -> str:
    """Return the column that counts a tensor's elements among the first `ratio` % of the region."""
    return f"top_{ratio:g}"


@dataclass(frozen=True)
class Concentration:
    """Sums of change in a region, by tensor and by cut."""

    tensors: pd.DataFrame
    """One row per tensor, columns COLUMNS, then `top(ratio)` of each ratio; no `layer` outside the blocks;
    `unchanged` counts s == p, and `zero_base` p == 0."""
    shares: dict[float, dict[str, float]]
    """Share (0..1) of each of SUMS held by each ratio's elements; empty where nothing changed at all."""


def measure(pair: Pair, criterion: Criterion, cuts: Sequence[Cut], epsilon: float) -> Concentration:
    """Return how the change in `pair` is spread (one pass); `cuts` are the criterion's, by increasing ratio.

    Raises ModelError for NaN or Inf in the weights, or a sum too large for a number.
    """
    ratios, number = [cut.ratio for cut in cuts], len(cuts) + 1
    rows, total = [], np.zeros((number, len(SUMS)))
    for name in pair.names:
        # A tensor's sums and numbers of elements by level: the index of the smallest ratio that holds an element.
        sums, counts, unchanged = np.zeros((number, len(SUMS))), np.zeros(number, dtype=np.int64), 0
        zeros, held = 0, np.zeros(len(SUMS))
        for piece in pair.of(name, pair.finetuned.get(name)):
            level = levels(cuts, name, keys_of(criterion, piece), piece.start)
            zero = piece.base == 0
            some = int(zero.sum())  # of most models none
            zeros += some
            for column, values in enumerate(change_sizes(piece.base, piece.finetuned, epsilon)):
                sums[:, column] += torch.bincount(level, values, minlength=number).cpu().numpy()
                held[column] += float(values[zero].sum()) if some else 0.0
            counts += torch.bincount(level, minlength=number).cpu().numpy()
            unchanged += int((piece.finetuned == piece.base).sum())
        if not np.isfinite(sums).all():
            raise ModelError(f"{pair.finetuned.folder}: the change of {name!r} overflows; fetch the model again")
        own = (name, layer_of(name), module_of(name), pair.size(name), unchanged, *sums.sum(axis=0), zeros, *held)
        rows.append((*own, *np.cumsum(counts)[:-1]))
        total += sums
    table = pd.DataFrame(rows, columns=[*COLUMNS, *map(top, ratios)]).astype({"layer": "Int64"})
    return Concentration(table, shares(ratios, np.cumsum(total, axis=0)))


def shares(ratios: Sequence[float], held: np.ndarray) -> dict[float, dict[str, float]]:
    """Return the share of each sum: `held`, float64 [len(ratios) + 1, len(SUMS)], by ratio and at last in total."""
    if not held[-1].all():
        return {}
    rows = [dict(zip(SUMS, map(float, row), strict=True)) for row in held[:-1] / held[-1]]
    return dict(zip(ratios, rows, strict=True))


LAYER_RATIO = 20.0
"""k of the paper's Tables 9 and 10, which do not say theirs: our choice."""
NULL = "null_"
"""Before the columns of the null model."""
SHARES = {
    "place_elements": "elements",
    "place_restored": top(LAYER_RATIO),
    "place_null_restored": NULL + top(LAYER_RATIO),
    **{f"place_{name}": name for name in SUMS},
}
"""Metric -> the column whose sum it is a share of."""


def by_layer(tensors: pd.DataFrame) -> Iterator[dict[str, object]]:
    """Yield rows of metrics: for each layer and module its share (0..1) of the region's parameters, of the elements
    restored at LAYER_RATIO, of the same under the null model, and of each of SUMS; and the share of its own elements
    that are unchanged. What is zero all over has no shares.
    `tensors`: one row per tensor (see `Concentration`), with the null model's columns after NULL.
    """
    modules = tensors.groupby(["layer", "module"], dropna=False, sort=True)
    for (layer, module), own in modules:
        where = {"layer": "" if pd.isna(layer) else str(layer), "module": module, "n": int(own["elements"].sum())}
        for metric, column in SHARES.items():
            if total := float(tensors[column].sum()):
                ratio = {"ratio": LAYER_RATIO} if "restored" in metric else {}
                yield {**where, **ratio, "metric": metric, "value": float(own[column].sum()) / total}
        yield {**where, "metric": "place_unchanged", "value": float(own["unchanged"].sum() / own["elements"].sum())}
