"""Probing a table of facts shard by shard, all of them or until the training sets of a study are full."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from sftlens.data import templates
from sftlens.data.scoring import accepted
from sftlens.mastery import mastery_table, probe_shards
from sftlens.mastery.probe_shards import Measured, Prober, Progress
from sftlens.mastery.quota import Quota

TRAIN = "train"

Shard = list[int]
"""Rows of the table."""
Queues = dict[tuple[str, str], list[Shard]]
"""(split, relation) -> its shards that are not measured yet."""


class Turn(NamedTuple):
    """Which of several processes this is."""

    rank: int
    processes: int


ALONE = Turn(0, 1)


@dataclass(frozen=True)
class Probed:
    """What a probe found."""

    table: pd.DataFrame
    """The probed facts in the order given, with the columns that `mastery.probe` adds."""
    quota: dict[str, Any] | None
    """The rule by which train facts were left out, and how many were probed; None when all were."""
    prompts: int
    """(fact, template) pairs of the table."""
    drawn: int
    """Those of them that had to be sampled now; the others were finished earlier, or by another process."""


def probe(
    facts: pd.DataFrame,
    prober: Prober,
    *,
    needs: Mapping[str, int] | None = None,
    texts: Path | None = None,
    progress: Progress = lambda prompts: None,
    turn: Turn = ALONE,
) -> Probed:
    """Measure the mastery of facts as `mastery.probe` does; memory is bounded by one shard and the token budget.

    Args:
        facts: columns fact_id, split, relation, subject and aliases (or object, where there are no aliases).
        prober: the model and how it is probed; `max_templates` of its settings is applied here.
        needs: with the setting `quota`: the most facts that a training set takes of each bucket.
        texts: file for the sampled texts, with the setting `keep_texts`; shard by shard.
        progress: called with the number of finished (fact, template) pairs.
        turn: the place of this process among those that probe the same side by side, with one state: it begins with
            its share of the shards, and takes of the others' what is left. Changes no result.

    Raises:
        DataError: a fact has no accepted answer, or its prompt does not fit the model's context.
        ModelError: the model cannot be used.
    """
    accepted(facts)  # refused before a model is loaded
    facts, settings = facts.reset_index(drop=True), prober.settings
    prober = replace(prober, sentences=templates.first(prober.sentences, settings.max_templates))
    queues = _queues(facts)
    quota = None
    if settings.quota and needs:
        quota = Quota(settings.quota, needs, [relation for split, relation in queues if split == TRAIN])
    place = {rows[0]: number for number, rows in enumerate(rows for shards in queues.values() for rows in shards)}
    hits: dict[int, list[int]] = {}
    parts, drawn = {}, 0
    for rows, measured in _measured(facts, prober, queues, quota, progress, turn):
        hits.update(zip(rows, measured.hits.tolist(), strict=True))
        parts[place[rows[0]]] = measured.texts
        drawn += measured.drawn
    if texts:
        probe_shards.join_texts(texts, [part for _, part in sorted(parts.items()) if part])
    rows = sorted(hits)
    table = mastery_table.with_mastery(facts.loc[rows], [hits[row] for row in rows], settings.samples)
    of = facts.loc[facts["split"] == TRAIN, "relation"].value_counts(sort=False).to_dict()
    return Probed(table, quota.record(of) if quota else None, sum(map(len, hits.values())), drawn)


def _queues(facts: pd.DataFrame) -> Queues:
    queues: Queues = {}
    for place, group in facts.groupby(["split", "relation"], sort=False):
        shards = probe_shards.cut(group["fact_id"].tolist(), probe_shards.SHARD_FACTS)
        queues[place] = [group.index[shard].tolist() for shard in shards]
    return queues


def _measured(
    facts: pd.DataFrame, prober: Prober, queues: Queues, quota: Quota | None, progress: Progress, turn: Turn
) -> Iterator[tuple[Shard, Measured]]:
    """Yield the rows and the result of one shard after another."""

    def measured(shards: Sequence[Shard]) -> Iterator[tuple[Shard, Measured]]:
        own = shards[turn.rank :: turn.processes]
        others = [shard for place, shard in enumerate(shards) if place % turn.processes != turn.rank]
        # From the end: whoever they fall to begins at the front.
        for rows in [*own, *reversed(others)]:
            yield rows, probe_shards.measure(facts.loc[rows], prober, progress)

    at_once = [shards for (split, _), shards in queues.items() if quota is None or split != TRAIN]
    yield from measured([rows for shards in at_once for rows in shards])
    if quota is None:
        return
    waiting = {relation: list(shards) for (split, relation), shards in queues.items() if split == TRAIN}
    while short := quota.short([relation for relation, shards in waiting.items() if shards]):
        for rows, found in measured([waiting[relation].pop(0) for relation in short]):
            trials = found.hits.shape[1] * prober.settings.samples
            quota.add(facts.at[rows[0], "relation"], map(mastery_table.bucket, found.hits.sum(1) / trials))
            yield rows, found
