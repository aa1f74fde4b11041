"""The majority baseline: the accuracy of giving each relation's most frequent object to every question of it."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pandas as pd

from sftlens.data.scoring import accepted, contains
from sftlens.evaluation import accuracy
from sftlens.evaluation.answering import TEST_SPLITS

METRIC = "majority"
"""The object is the most frequent one of the relation's train facts."""
ASKED = "majority_of_asked"
"""The relation has no train facts: the object is the most frequent one of the asked facts themselves. No model could
know it, so this is an upper bound of such guessing."""


def rows(facts: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the baseline's accuracy (contains) as rows of metrics; it depends on no model's weights.

    Per split of TEST_SPLITS: per bucket, over all questions, the macro and per relation. A split of which any relation
    has no train facts is counted under ASKED. No rows for facts whose splits, relations or objects are not known.
    """
    if not {"split", "relation", "object"} <= set(facts):
        return []
    train = _most_frequent(facts[facts["split"] == "train"])
    found: list[dict[str, Any]] = []
    for split in TEST_SPLITS:
        asked = facts[facts["split"] == split]
        if len(asked):
            found += _of_split(split, asked, train)
    return found


def _of_split(split: str, asked: pd.DataFrame, train: dict[str, str]) -> list[dict[str, Any]]:
    guesses = _most_frequent(asked) | train
    given = zip(asked["relation"], accepted(asked), strict=True)
    right = pd.Series([contains(guesses[relation], strings) for relation, strings in given], asked.index, dtype=bool)
    buckets = asked["bucket"] if "bucket" in asked else pd.Series("", asked.index)
    known = asked["relation"].isin(train)
    made = accuracy.counted(split, METRIC if known.all() else ASKED, right, buckets)
    for metric, part in ((METRIC, known), (ASKED, ~known)):
        made += accuracy.by_relation(split, metric, right[part], asked["relation"][part])
    return made


def _most_frequent(facts: pd.DataFrame) -> dict[str, str]:
    return {str(relation): _mode(objects) for relation, objects in facts.groupby("relation")["object"]}


def _mode(objects: Iterable[str]) -> str:
    """Return the most frequent text; the first by the alphabet of several, so that no order of rows enters."""
    return min(Counter(objects).items(), key=lambda entry: (-entry[1], entry[0]))[0]
