"""When enough train facts are probed: every training set of the study is as full and as balanced as after all of them.

Training sets take turns among the relations and make up for exhausted ones by the others (`training_sets.order`). So
a set of T facts of a bucket takes from each relation what it has, up to a common level: the smallest at which the
relations together give T. A relation is probed until it reaches the level of every bucket, or until none of its facts
is left, which raises the level of the others. Then each set of up to T facts has the same share of every relation as
it would have if all facts were probed.
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

RULE = (
    "train facts are probed in a fixed pseudo-random order, shard by shard, until every relation reaches the level of "
    "each bucket at which the relations together give the wanted facts, or has no fact left"
)


class Quota:
    """Counts the probed facts of each relation and bucket against what is wanted."""

    def __init__(self, factor: float, needs: Mapping[str, int], relations: Iterable[str]) -> None:
        """`needs` maps each bucket to the largest number of facts that a training set takes of it."""
        self.factor, self.needs = factor, dict(needs)
        self.wanted = {bucket: math.ceil(factor * number) for bucket, number in needs.items()}
        self.counts: dict[str, Counter[str]] = {relation: Counter() for relation in relations}

    def add(self, relation: str, buckets: Iterable[str]) -> None:
        """Count newly probed facts of a relation by their buckets."""
        self.counts[relation].update(buckets)

    def short(self, left: Collection[str]) -> list[str]:
        """Return which of the relations with facts `left` must be probed further."""
        levels = {bucket: self._level(bucket, left) for bucket in self.wanted}
        return [r for r in left if any(self.counts[r][bucket] < level for bucket, level in levels.items())]

    def _level(self, bucket: str, left: Collection[str]) -> int:
        """How many facts of a bucket each relation with facts left has to give."""
        exhausted = [counts[bucket] for relation, counts in self.counts.items() if relation not in left]

        def given(level: int) -> int:
            return len(left) * level + sum(min(count, level) for count in exhausted)

        return bisect_left(range(self.wanted[bucket]), self.wanted[bucket], key=given)

    def record(self, of: Mapping[str, int]) -> dict[str, Any]:
        """Return what a summary says: the rule, and what it led to; `of` are each relation's facts."""
        found = {bucket: sum(counts[bucket] for counts in self.counts.values()) for bucket in self.wanted}
        return {
            "rule": RULE,
            "factor": self.factor,
            "largest_scale": self.needs,
            "wanted": self.wanted,
            "found": found,
            "probed": {relation: counts.total() for relation, counts in self.counts.items()},
            "of": dict(of),
        }
