"""Probing a table of facts shard by shard, all of them or until the training sets of a study are full."""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from sftlens.data import relations, tables
from sftlens.data.buckets import BUCKETS
from sftlens.data.scoring import accepted
from sftlens.mastery import adaptive, mastery_table, probe_shards, rounds
from sftlens.mastery.probe_shards import Prober, Progress, ShardResult
from sftlens.mastery.rounds import Found

TRAIN = "train"
RULE = (
    "train facts are probed in a fixed pseudo-random order, shard by shard, until every relation reaches the level of "
    "each bucket at which the relations together give the wanted facts, or has no fact left"
)


class Worker(NamedTuple):
    """Which of several processes this is."""

    rank: int
    processes: int


ALONE = Worker(0, 1)


@dataclass(frozen=True)
class Probed:
    """What a probe found."""

    table: pd.DataFrame
    """The probed facts in the order given, with the columns that `mastery.probe` adds."""
    quota: dict[str, Any] | None
    """The rule by which train facts were left out, and how many were probed; None when all were."""
    prompts: int
    """(fact, template) pairs of the table."""
    sampled: int
    """Those of them that had to be sampled now; the others were finished earlier, or by another process."""
    adaptive: dict[str, Any] | None = None
    """With the method `adaptive`: the calibration, and rows of metrics (`rounds.metrics`)."""


def probe(
    facts: pd.DataFrame,
    prober: Prober,
    *,
    needs: Mapping[str, int] | None = None,
    texts: Path | None = None,
    progress: Progress = lambda prompts: None,
    worker: Worker = ALONE,
) -> Probed:
    """Measure the mastery of facts as `mastery.probe` does; memory is bounded by one shard and the token budget.

    Args:
        facts: columns fact_id, split, relation, subject and aliases (or object, where there are no aliases).
        prober: the model and how it is probed; `max_templates` of its settings is applied here.
        needs: with the setting `quota`: the most facts that a training set takes of each bucket.
        texts: file for the sampled texts, with the setting `keep_texts`; shard by shard.
        progress: called with the number of finished (fact, template) pairs.
        worker: which of the processes that probe the same facts side by side, with one state: it begins with its share
            of the shards, and takes of the others' what is left. Changes no result.

    Raises:
        DataError: a fact has no accepted answer, or its prompt does not fit the model's context.
        ModelError: the model cannot be used.
    """
    accepted(facts)  # refused before a model is loaded
    facts, settings = facts.reset_index(drop=True), prober.settings
    prober = replace(prober, sentences=relations.first_templates(prober.sentences, settings.max_templates))
    learned: list[Path] = []
    calibrating = 0
    if settings.method == "adaptive":
        prober, learned, calibrating = _calibrated(facts, prober, worker)
    by_place = facts.groupby(["split", "relation"], sort=False)
    shards = {(str(split), str(relation)): _shards(group) for (split, relation), group in by_place}
    quota = None
    if settings.quota and needs:
        quota = Quota(settings.quota, needs, [relation for split, relation in shards if split == TRAIN])

    def columns(found: Sequence[Found]) -> dict[str, Any]:
        if prober.calibration:
            return adaptive.columns(found, prober.calibration, settings.samples)
        return mastery_table.measured([fact["template_hits"] for fact in found], settings.samples)

    def all_results() -> Iterator[tuple[list[int], ShardResult]]:
        at_once = [some for (split, _), some in shards.items() if quota is None or split != TRAIN]
        yield from _results(facts, prober, [rows for some in at_once for rows in some], worker, progress)
        waiting = {relation: list(some) for (split, relation), some in shards.items() if split == TRAIN}
        while quota and (short := quota.short([relation for relation, some in waiting.items() if some])):
            chosen = [waiting[relation].pop(0) for relation in short]
            for rows, found in _results(facts, prober, chosen, worker, progress):
                quota.add(facts.at[rows[0], "relation"], columns(found.found)["bucket"])
                yield rows, found

    number = {rows[0]: i for i, rows in enumerate(rows for some in shards.values() for rows in some)}
    results_of: dict[int, Found] = {}
    parts, sampled = {}, calibrating
    for rows, found in all_results():
        results_of.update(zip(rows, found.found, strict=True))
        parts[number[rows[0]]] = found.texts
        sampled += found.sampled
    if texts:
        kept = [part for _, part in sorted(parts.items()) if part]
        probe_shards.join_texts(texts, [*learned, *kept])
    rows = sorted(results_of)
    table = facts.loc[rows].reset_index(drop=True).assign(**columns([results_of[row] for row in rows]))
    of = facts.loc[facts["split"] == TRAIN, "relation"].value_counts(sort=False).to_dict()
    prompts = sum(len(found["template_hits"]) for found in results_of.values())
    judged = _judged(table, prober) if prober.calibration else None
    return Probed(table, quota.record(of) if quota else None, prompts, sampled, judged)


def _shards(facts: pd.DataFrame) -> list[list[int]]:
    """Return the rows of the shards of some facts of one relation."""
    ids = facts["fact_id"].tolist()
    return [facts.index[shard].tolist() for shard in probe_shards.split(ids, probe_shards.SHARD_FACTS)]


def _results(
    facts: pd.DataFrame, prober: Prober, shards: Sequence[list[int]], worker: Worker, progress: Progress
) -> Iterator[tuple[list[int], ShardResult]]:
    """Yield the rows of each shard, and what was found of them; a worker's own shards first."""
    groups = probe_shards.grouped(shards)
    own = groups[worker.rank :: worker.processes]
    others = [group for i, group in enumerate(groups) if i % worker.processes != worker.rank]
    # From the end: the process that they belong to begins at the front.
    for group in [*own, *reversed(others)]:
        found = probe_shards.probe_group([facts.loc[rows] for rows in group], prober, progress)
        yield from zip(group, found, strict=True)


def _calibrated(facts: pd.DataFrame, prober: Prober, worker: Worker) -> tuple[Prober, list[Path], int]:
    """Return the prober with what a fixed sample of the facts, probed in full, says about its model.

    Also the files of their texts, and how many prompts had to be sampled.
    """
    ids = tables.fixed_sample(facts, prober.settings.calibration_facts, "calibration\0")["fact_id"]
    chosen = facts[facts["fact_id"].isin(ids)]
    shards = [rows for _, part in chosen.groupby("relation", sort=False) for rows in _shards(part)]
    made = {rows[0]: found for rows, found in _results(facts, prober, shards, worker, lambda prompts: None)}
    results = [made[rows[0]] for rows in shards]
    named = [facts.at[row, "fact_id"] for rows in shards for row in rows]
    known = dict(sorted(zip(named, (fact for result in results for fact in result.found), strict=True)))
    by_size: dict[int, list[Found]] = {}
    for fact in known.values():
        by_size.setdefault(len(fact["template_hits"]), []).append(fact)
    calibration = adaptive.fit([adaptive.gathered(some) for _, some in sorted(by_size.items())])
    texts = [result.texts for result in results if result.texts]
    return replace(prober, calibration=calibration, known=known), texts, sum(result.sampled for result in results)


def _judged(table: pd.DataFrame, prober: Prober) -> dict[str, Any]:
    """Return the calibration, and how its facts would have fared, for the summary of a probe."""
    assert prober.calibration
    samples = prober.settings.samples
    full = table[table["fact_id"].isin(prober.known)]
    stopped = []
    for _, part in full.groupby(full["template_hits"].map(len)):
        known = [prober.known[fact] for fact in part["fact_id"]]
        chances, _ = rounds.replayed(known, prober.calibration, samples, prober.settings.margin)
        names = [f"P_{name}" for name in BUCKETS]
        stopped.append(part[["fact_id", "split", "bucket"]].assign(**dict(zip(names, chances.T, strict=True))))
    metrics = rounds.metrics(table, pd.concat(stopped) if stopped else full, samples)
    return {"calibration": {**asdict(prober.calibration), "facts": len(prober.known)}, "metrics": metrics}


class Quota:
    """When enough train facts are probed: every training set of the study is as full and as balanced as after all.

    Training sets take turns among the relations and make up for exhausted ones by the others (`training_sets.order`).
    So a set of T facts of a bucket takes from each relation what it has, up to a common level: the smallest at which
    the relations together give T. A relation is probed until it reaches the level of every bucket, or until none of
    its facts is left, which raises the level of the others. Then each set of up to T facts has the same share of every
    relation as it would have if all facts were probed.
    """

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
        levels = {}
        for bucket, wanted in self.wanted.items():
            exhausted = [counts[bucket] for relation, counts in self.counts.items() if relation not in left]

            def given(level: int, exhausted: Sequence[int] = exhausted) -> int:
                return len(left) * level + sum(min(count, level) for count in exhausted)

            # How many facts of the bucket each relation with facts left has to give.
            levels[bucket] = bisect_left(range(wanted), wanted, key=given)
        return [r for r in left if any(self.counts[r][bucket] < level for bucket, level in levels.items())]

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
