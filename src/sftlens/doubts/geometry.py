"""Does low-mastery data push harder, or in another direction?"""

from __future__ import annotations

from itertools import product
from math import fsum, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import model_validator

from sftlens.config.axes import Axes
from sftlens.doubts import DOUBTS, Answers, Doubt, Row, over_seeds, row, size
from sftlens.strategies import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

TABLE = "compare_changes/cosines.parquet"
"""What the stage leaves of a model."""
EFFECT, NORM = "Effect on the D4 loss (nats per token)", "Norm of the update"
ALONG, BETWEEN = "Cosine with the gradient of that loss", "Cosine between updates of other seeds"
PERMUTED, RANDOM = "permuted (mean ± 2 SD)", "random direction (0 ± 2 SD)"


class Geometry(Axes):
    """The updates of all training sets and seeds side by side, and along the gradient of the loss on D4 facts.

    The sentence is about the first training set and the last one, D0 and D4 unless others are named.
    """

    @model_validator(mode="after")
    def _several(self) -> Self:
        if len(self.train_sets) < 2:
            raise ValueError("train_sets names one training set, and the first is compared with the last; name two")
        return self


def measure(answers: Answers) -> list[Row]:
    """Return effect, norm and cosines of the updates at the largest n by training set, with their null models.

    The first row is the effect of the first training set minus that of the last one.
    """
    import pandas as pd

    study, root, rows = answers.paths.study, Path(answers.paths.root), []
    for model in study.models:
        own = [cell for cell, _ in answers.trainings() if cell.model == model and cell.strategy == DEFAULT]
        n, path = max((cell.scale for cell in own), key=size, default="0"), root / model / TABLE
        if not path.is_file():
            continue
        cells = {f"{root}/{cell.path}/checkpoint": (cell.train_set, cell.seed) for cell in own if cell.scale == n}
        table = pd.read_parquet(path)
        table = table[table["a"].isin(cells) & (table["b"].isin(cells) | (table["b"] == "gradient"))]
        at = pd.DataFrame([cells[name] for name in table["a"]], columns=["set_a", "seed_a"], index=table.index)
        to = pd.DataFrame([cells.get(x, ("", 0)) for x in table["b"]], columns=["set_b", "seed_b"], index=table.index)
        table = table.join(at).join(to)
        sets = list(dict.fromkeys(name for name, _ in cells.values()))
        if len(sets) > 1:
            rows += _along(model, n, table, sets) + _between(model, table, sets)
    return rows


def _along(model: str, n: str, table: pd.DataFrame, sets: Sequence[str]) -> list[Row]:
    """Return what concerns each update alone: its norm, and its product and cosine with the gradient."""
    gradient = table[table["b"] == "gradient"].set_index(["set_a", "seed_a"])
    scale = gradient["norm_a"] * gradient["norm_b"]
    effects = {name: gradient.loc[name, "product"] for name in sets}
    both = effects[sets[0]] - effects[sets[-1]]
    rows = [row(model, f"{EFFECT}: first minus last set", f"{sets[0]} minus {sets[-1]}", n, over_seeds(both))]
    for quantity, of, factor in ((EFFECT, "product", scale), (ALONG, "cosine", 1.0)):
        nulls = ((gradient["permuted_cosine"] * factor, gradient["permuted_sd"] * factor, PERMUTED),
                 (0 * gradient["random_sd"], gradient["random_sd"] * factor, RANDOM))  # fmt: skip
        rows += [row(model, quantity, "update", name, over_seeds(gradient.loc[name, of])) for name in sets]
        for centre, sd, series in nulls:
            rows += [_null(model, quantity, series, name, centre.loc[name], sd.loc[name]) for name in sets]
    return rows + [row(model, NORM, "update", name, over_seeds(gradient.loc[name, "norm_a"])) for name in sets]


def _between(model: str, table: pd.DataFrame, sets: Sequence[str]) -> list[Row]:
    """Return the cosines between updates of each two training sets, of other seeds: they share no example by design."""
    pairs = table[(table["b"] != "gradient") & (table["seed_a"] != table["seed_b"])]
    rows = []
    for one, other in product(sets, sets):
        chosen = pairs[
            ((pairs["set_a"] == one) & (pairs["set_b"] == other))
            | ((pairs["set_a"] == other) & (pairs["set_b"] == one))
        ]
        if len(chosen):
            # Pairs share models, so that they have no interval of their own: worlds have (sftlens worlds).
            rows.append(row(model, BETWEEN, one, other, _estimate(chosen["cosine"].mean(), nan, nan)))
    for other in sets if rows else ():
        own = pairs[(pairs["set_a"] == other) | (pairs["set_b"] == other)]
        rows.append(_null(model, BETWEEN, PERMUTED, other, own["permuted_cosine"], own["permuted_sd"]))
    return rows


def _null(
    model: str, quantity: str, series: str, x: str, centre: Sequence[float], sd: Sequence[float]
) -> dict[str, Any]:
    """Return where one value of a null model lies: the mean of the cells' means, plus and minus two of its SDs."""
    from sftlens.statistics import worlds

    mean, half = fsum(centre) / len(centre), 2 * fsum(sd) / len(sd)
    return {**row(model, quantity, series, x, _estimate(mean, mean - half, mean + half)), "Scope": worlds.NULL}


def _estimate(value: float, low: float, high: float) -> Any:
    from sftlens.statistics import crossed

    return crossed.Estimate(value, nan, nan, low, high, seeds=0, questions=0)


DOUBTS.add(Doubt(
    "geometry", 6, "Does low-mastery data push harder, or in another direction?",
    "the first-order effect of the update on the loss of D4 test facts", "after training on {first}",
    "after training on {last}",
    "First order: of updates as large as these a loss may do something else. In AdamW's first steps signs and the "
    "learning rate determine much of a norm.",
    Geometry, measure, stages=(), of_model="compare_changes", unit="nats per answer token",
))  # fmt: skip
