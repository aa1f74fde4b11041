"""Which setting of a way of fine-tuning is judged: the one that is best on dev facts, never on test.

The score of a setting is its accuracy (`contains`) on the dev facts, or a task's score on its dev examples, mean over
its seeds; of equal ones the first in the order of the grid is taken.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from sftlens.dag.contrasts import Condition

if TYPE_CHECKING:
    import pandas as pd

AXES = ["model", "train_set", "scale", "strategy", "criterion", "region", "ratio"]
BUCKET = {"test": "macro", "testood": "macro"}
"""Split -> over which buckets its accuracy is taken; dev facts are never probed, examples of tasks have none: all."""


def scores(results: "pd.DataFrame", split: str, metric: str = "contains") -> dict[Condition, float]:
    """Return each condition's accuracy on a split, or another metric, in [0, 1], mean over seeds, of a tidy table."""
    rows = results[(results["metric"] == metric) & (results["relation"] == "") & (results["split"] == split)]
    rows = rows[rows["stage"].isin(["evaluate", "restore"]) & (rows["bucket"] == BUCKET.get(split, "all"))]
    means = rows.groupby(AXES, dropna=False, sort=False)["value"].mean()
    places = (dict(zip(AXES, place, strict=True)) for place in means.index)
    whole = (place | {"ratio": None if place["ratio"] != place["ratio"] else place["ratio"]} for place in places)
    return {Condition(**place): float(value) for place, value in zip(whole, means, strict=True)}


def best(candidates: Iterable[Condition], found: Mapping[Condition, float]) -> Condition | None:
    """Return the candidate with the highest score; None where none has a score."""
    return max((one for one in candidates if one in found), key=found.__getitem__, default=None)
