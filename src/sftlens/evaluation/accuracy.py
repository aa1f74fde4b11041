"""Judged answers counted: per split, mastery bucket and relation, and the macro over the buckets, with intervals."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from sftlens.data.buckets import BUCKETS
from sftlens.statistics import intervals

MEASURES = ("contains", "exact", "word_boundary", "f1", "well_formed")
SHARES = ("leak", "in_train")
BY_RELATION = ("contains", "well_formed")


def rows(answers: pd.DataFrame, measures: Sequence[str] = MEASURES) -> list[dict[str, Any]]:
    """Return the rows of metrics of the table of `evaluation.run`, counted for each split by itself.

    `measures` per bucket, over all questions and as macro (`counted`), BY_RELATION also per relation, SHARES over all
    questions. Three more metrics are `contains` on some of the questions: `contains_given_well_formed` (the answer
    ended within the limit), `contains_without_leak` and `contains_not_in_train`.
    A judgement that the table lacks has no rows. Rows of a relation have the key relation and the bucket `all`.
    """
    made: list[dict[str, Any]] = []
    for split, part in answers.groupby("split", sort=False):
        for metric, column, chosen in _views(part, measures):
            made += counted(str(split), metric, chosen[column], chosen["bucket"])
        for name in SHARES:
            made += [_row(str(split), "all", name, part[name])] if name in part else []
        for name in [name for name in BY_RELATION if name in part and "relation" in part]:
            made += by_relation(str(split), name, part[name], part["relation"])
    return made


def counted(split: str, metric: str, values: pd.Series, buckets: pd.Series) -> list[dict[str, Any]]:
    """Return the means of `values` (bool, or float in [0, 1]) per bucket, over all, and their macro.

    The macro is the unweighted mean over D0..D4 and is left out when a bucket is empty.
    """
    groups = {name: values[buckets == name] for name in BUCKETS}
    made = [_row(split, name, metric, group) for name, group in groups.items() if len(group)]
    if len(values):
        made.append(_row(split, "all", metric, values))
    if all(len(group) for group in groups.values()):
        made.append(_macro(split, metric, list(groups.values())))
    return made


def by_relation(split: str, metric: str, values: pd.Series, relations: pd.Series) -> list[dict[str, Any]]:
    """Return the means of `values` per relation, over all buckets."""
    known = values[relations != ""].groupby(relations, sort=False)
    return [{**_row(split, "all", metric, group), "relation": relation} for relation, group in known]


def _views(part: pd.DataFrame, measures: Sequence[str]) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield (metric, judgement, the answers it is taken over)."""
    yield from ((name, name, part) for name in measures if name in part)
    if "contains" not in part:
        return
    yield "contains_given_well_formed", "contains", part[part["well_formed"]]
    for name, metric in (("leak", "contains_without_leak"), ("in_train", "contains_not_in_train")):
        if name in part:
            yield metric, "contains", part[~part[name]]


def _row(split: str, bucket: str, metric: str, values: pd.Series) -> dict[str, Any]:
    if values.dtype == bool:
        bounds: Sequence[float | None] = intervals.wilson(int(values.sum()), len(values))
    else:
        bounds = intervals.within_unit(intervals.mean(values.tolist())[1:])
    return _made(split, bucket, metric, len(values), float(values.mean()), bounds)


def _macro(split: str, metric: str, groups: Sequence[pd.Series]) -> dict[str, Any]:
    sizes, means = [len(values) for values in groups], [float(values.mean()) for values in groups]
    value, *bounds = intervals.macro(means, sizes)
    if not all(values.dtype == bool for values in groups):  # the variance of a share is not that of a mean
        parts = [(float(values.sem()) ** 2 / len(groups) ** 2, len(values) - 1.0) for values in groups]
        _, _, *bounds = intervals.satterthwaite(value, parts)
    return _made(split, "macro", metric, sum(sizes), value, intervals.within_unit(bounds))


def _made(split: str, bucket: str, metric: str, n: int, value: float, bounds: Sequence[float | None]) -> dict[str, Any]:
    low, high = bounds
    place = {"split": split, "bucket": bucket, "metric": metric}
    return {**place, "value": value, "n": n, "low": low, "high": high}
