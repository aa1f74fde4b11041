"""The majority baseline: the accuracy of giving each relation's most frequent object to every question of it."""

from collections import Counter
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
        guesses = _most_frequent(asked) | train
        given = zip(asked["relation"], accepted(asked), strict=True)
        right = pd.Series([contains(guesses[name], strings) for name, strings in given], asked.index, dtype=bool)
        buckets = asked["bucket"] if "bucket" in asked else pd.Series("", asked.index)
        known = asked["relation"].isin(train)
        found += accuracy.counted(split, METRIC if known.all() else ASKED, right, buckets)
        for metric, part in ((METRIC, known), (ASKED, ~known)):
            found += accuracy.by_relation(split, metric, right[part], asked["relation"][part])
    return found


def _most_frequent(facts: pd.DataFrame) -> dict[str, str]:
    """Return each relation's most frequent object; the first by the alphabet of several, so that no order enters."""
    objects = {str(relation): Counter(group) for relation, group in facts.groupby("relation")["object"]}
    return {name: min(counts, key=lambda text: (-counts[text], text)) for name, counts in objects.items()}
