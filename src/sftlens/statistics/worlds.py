"""What several worlds say together: each is one draw of facts, corpus and model, and the unit of the interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sftlens.statistics import intervals

if TYPE_CHECKING:
    import pandas as pd

LABELS = ["Model", "Quantity", "Series", "X"]
WORLDS, SD, NEEDED = "Worlds", "SD over worlds", "Worlds for one point"
NULL = "mean and 2 SD of a null model"
"""The scope of a row whose Low and High are where one value of a null model lies, and no interval of a mean."""
POINTS = "points"
"""Stands in the name of a quantity that is a difference in points."""

POWER, LEVEL = 0.8, 0.95
"""Of the test that NEEDED is about."""


def needed(sd: float, difference: float = 1.0) -> float:
    """Return how many worlds a mean difference needs to be told from 0: NaN where the SD over worlds is unknown.

    The smallest n >= 2 with SD (t(n - 1; (1 + LEVEL) / 2) + t(n - 1; POWER)) / sqrt(n) <= difference: so many worlds
    let a two-sided t test find a true difference of that size with that power (the textbook sample size, with t for
    normal quantiles). SD and difference are in the same unit.
    """
    from scipy.special import stdtrit

    if math.isnan(sd):
        return math.nan
    n = 2
    while sd * float(stdtrit(n - 1, (1 + LEVEL) / 2) + stdtrit(n - 1, POWER)) > difference * math.sqrt(n):
        n += max(1, n // 1000)  # beyond thousands the last digit says nothing
    return float(n)


def over_worlds(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of an experiment over worlds: mean of the worlds' estimates, t interval, SD, and NEEDED.

    `tables` are those of one experiment, one a world, with LABELS and `Estimate`; rows keep the order in which worlds
    first name them. A world in which a row is missing or NaN does not enter it, and WORLDS counts the others; with one
    world there is no interval. NEEDED counts worlds for a difference of one point, where a row is in points. A row of
    a null model (NULL) has the means of the worlds' Low and High.
    """
    import pandas as pd

    rows = []
    every = pd.concat(tables, ignore_index=True)
    for labels, found in every.groupby(LABELS, sort=False):
        values = found["Estimate"].dropna().astype("float64").tolist()
        mean, low, high = intervals.mean(values) if values else (math.nan, None, None)
        sd = float(pd.Series(values).std()) if len(values) > 1 else math.nan
        ends = [math.nan if end is None else end for end in (low, high)]
        scope = f"over {len(values)} worlds" if len(values) > 1 else "one world" if values else "no world"
        if set(found.get("Scope", ())) == {NULL}:
            ends, scope, sd = [float(found[end].mean()) for end in ("Low", "High")], NULL, math.nan
        worlds = needed(sd) if POINTS in labels[1] else math.nan
        rows.append([*labels, mean, *ends, scope, len(values), sd, worlds])
    table = pd.DataFrame(rows, columns=[*LABELS, "Estimate", "Low", "High", "Scope", WORLDS, SD, NEEDED])
    return table.astype({NEEDED: "Int64"})
