"""Judged answers counted: per split, mastery bucket and relation, and the macro over the buckets, with intervals.

So are those of the majority baseline, which gives each relation's most frequent object to every question of it.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from sftlens.data.buckets import BUCKETS
from sftlens.data.scoring import guessed
from sftlens.statistics import intervals

TEST_SPLITS = ("test", "testood")
MEASURES = ("contains", "exact", "word_boundary", "f1", "first_line", "well_formed")
SHARES = ("leak", "in_train")
BY_RELATION = ("contains", "well_formed")
MAJORITY = "majority"
"""The object is the most frequent one of the relation's train facts."""
MAJORITY_OF_ASKED = "majority_of_asked"
"""The relation has no train facts: the object is the most frequent one of the asked facts themselves. No model could
know it, so this is an upper bound of such guessing."""


def rows(answers: pd.DataFrame, measures: Sequence[str] = MEASURES) -> list[dict[str, Any]]:
    """Return the rows of metrics of the table of `evaluation.run`, counted for each split by itself.

    `measures` per bucket, over all questions and as macro (`counted`), BY_RELATION also per relation, SHARES over all
    questions. Three more metrics are `contains` on some of the questions: `contains_given_well_formed` (the answer
    ended within the limit), `contains_without_leak` and `contains_not_in_train`.
    A judgement that the table lacks has no rows. Rows of a relation have the key relation and the bucket `all`.
    """
    made: list[dict[str, Any]] = []
    for split, part in answers.groupby("split", sort=False):
        views = [(name, name, part) for name in measures if name in part]
        if "contains" in part:
            views.append(("contains_given_well_formed", "contains", part[part["well_formed"]]))
            some = {"leak": "contains_without_leak", "in_train": "contains_not_in_train"}
            views += [(metric, "contains", part[~part[name]]) for name, metric in some.items() if name in part]
        for metric, column, chosen in views:
            made += counted(str(split), metric, chosen[column], chosen["bucket"])
        made += [row(str(split), "all", name, part[name]) for name in SHARES if name in part]
        for name in [name for name in BY_RELATION if name in part and "relation" in part]:
            made += by_relation(str(split), name, part[name], part["relation"])
    return made


def counted(split: str, metric: str, values: pd.Series, buckets: pd.Series) -> list[dict[str, Any]]:
    """Return the means of `values` (bool, or float in [0, 1]) per bucket, over all, and their macro.

    The macro is the unweighted mean over D0..D4 and is left out when a bucket is empty.
    """
    groups = {name: values[buckets == name] for name in BUCKETS}
    made = [row(split, name, metric, group) for name, group in groups.items() if len(group)]
    if len(values):
        made.append(row(split, "all", metric, values))
    if all(len(group) for group in groups.values()):
        sizes, means = [len(group) for group in groups.values()], [float(group.mean()) for group in groups.values()]
        value, *bounds = intervals.macro(means, sizes)
        if values.dtype != bool:  # the variance of a share is not that of a mean
            parts = [(float(group.sem()) ** 2 / len(groups) ** 2, len(group) - 1.0) for group in groups.values()]
            _, _, *bounds = intervals.satterthwaite(value, parts)
        low, high = intervals.within_unit(bounds)
        place = {"split": split, "bucket": "macro", "metric": metric}
        made.append({**place, "value": value, "n": sum(sizes), "low": low, "high": high})
    return made


def by_relation(split: str, metric: str, values: pd.Series, relations: pd.Series) -> list[dict[str, Any]]:
    """Return the means of `values` per relation, over all buckets."""
    known = values[relations != ""].groupby(relations, sort=False)
    return [{**row(split, "all", metric, group), "relation": relation} for relation, group in known]


def row(split: str, bucket: str, metric: str, values: pd.Series) -> dict[str, Any]:
    """Return the mean of `values` (bool, or float in [0, 1]) with its 95 % interval as a row of metrics."""
    if values.dtype == bool:
        bounds: Sequence[float | None] = intervals.wilson(int(values.sum()), len(values))
    else:
        bounds = intervals.within_unit(intervals.mean(values.tolist())[1:])
    low, high = bounds
    place = {"split": split, "bucket": bucket, "metric": metric}
    return {**place, "value": float(values.mean()), "n": len(values), "low": low, "high": high}


def majority(facts: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the baseline's accuracy (contains) as rows of metrics; it depends on no model's weights.

    Per split of TEST_SPLITS: per bucket, over all questions, the macro and per relation. A split of which any relation
    has no train facts is counted under MAJORITY_OF_ASKED. No rows for facts whose splits, relations or objects are
    unknown.
    """
    if not {"split", "relation", "object"} <= set(facts):
        return []
    train = facts[facts["split"] == "train"]
    found: list[dict[str, Any]] = []
    for split in TEST_SPLITS:
        asked = facts[facts["split"] == split]
        right = pd.Series(guessed(asked, train), asked.index, dtype=bool)
        buckets = asked["bucket"] if "bucket" in asked else pd.Series("", asked.index)
        known = asked["relation"].isin(train["relation"])
        found += counted(split, MAJORITY if known.all() else MAJORITY_OF_ASKED, right, buckets)
        for metric, part in ((MAJORITY, known), (MAJORITY_OF_ASKED, ~known)):
            found += by_relation(split, metric, right[part], asked["relation"][part])
    return found
