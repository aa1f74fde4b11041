"""The shards of a probe: facts of one relation, sampled together, kept on disk, and resumed where they stopped.

A finished shard is a stage of its own, keyed by everything its completions depend on and by nothing else: another
study, or the same one after an edit of other facts or relations, finds it finished. Shards with few facts are sampled
together, so that they share batches, and then kept one by one. Every finished batch is in a journal.
"""

import hashlib
import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sftlens import files
from sftlens.config.stages.mastery import SAMPLING_FIELDS, ProbingSettings
from sftlens.data.scoring import accepted
from sftlens.errors import DataError
from sftlens.mastery import completions
from sftlens.mastery.adaptive import Calibration
from sftlens.mastery.completions import Probe, SampledBatch
from sftlens.mastery.journal import journal, read_journal
from sftlens.mastery.rounds import Found, Rounds
from sftlens.runtime import stages
from sftlens.runtime.result_version import RESULT_VERSION
from sftlens.runtime.stages import Stage

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SHARD_FACTS = 512
"""Most facts of a shard: what is tokenised at once, and the least that another study can reuse."""
GROUP_FACTS = 64
"""Most facts of shards that are sampled together: enough for full batches, few enough for several processes."""
FOLDER = "probe-shards"
HITS, TEXTS = "hits.parquet", "texts.parquet"
TEXTS_SCHEMA = pa.schema(
    [("fact_id", pa.string()), ("template", pa.int32()), ("text", pa.string()), ("count", pa.int32())]
)
"""`template` is the index among the relation's templates; `text` ends where the answer appeared."""
Progress = Callable[[int], object]


@dataclass(frozen=True)
class Prober:
    """A model, and how it is probed."""

    load: Callable[[], tuple["PreTrainedModel", "PreTrainedTokenizerBase"]]
    """Called when something has to be sampled."""
    identity: Mapping[str, str]
    """What completions depend on besides facts, sentences and settings: content of the model, BOS."""
    sentences: Mapping[str, Sequence[str]]
    """The completion templates of each relation; all of them are used."""
    settings: ProbingSettings
    state: Path
    """Folder that keeps the shards."""
    calibration: Calibration | None = None
    """With the method `adaptive`: when a fact is decided; None while that is learned from facts probed in full."""
    known: Mapping[str, Found] = field(default_factory=dict)
    """By fact_id the facts that were probed in full to calibrate the method: they are not sampled again."""


@dataclass(frozen=True)
class ShardResult:
    """The result of one shard."""

    found: list[Found]
    """What was found of each fact."""
    texts: Path | None
    """Table of TEXTS_SCHEMA; None unless texts are kept."""
    sampled: int
    """Prompts that had to be sampled for it now."""


def split(fact_ids: Sequence[str], most: int) -> list[list[int]]:
    """Return the indices of the facts in pseudo-random order, split into shards of at most `most`.

    A fact's hash decides where it stands, and shards are halved where hashes differ in a bit: one fact more or less
    changes one shard, rarely two, wherever it stood in the table.
    """
    hashes = [hashlib.sha256(f"probe\0{fact_id}".encode()).digest() for fact_id in fact_ids]

    def halved(order: list[int], bit: int = 0) -> Iterator[list[int]]:
        if len(order) <= most or bit == 256:
            yield from [order] if order else []
            return
        middle = bisect_left(order, 1, key=lambda fact: hashes[fact][bit // 8] >> (7 - bit % 8) & 1)
        yield from halved(order[:middle], bit + 1)
        yield from halved(order[middle:], bit + 1)

    return list(halved(sorted(range(len(hashes)), key=hashes.__getitem__)))


def grouped(shards: Sequence[list[int]]) -> list[list[list[int]]]:
    """Return shards in groups that are sampled together: neighbours of at most GROUP_FACTS facts, or one shard."""
    groups: list[list[list[int]]] = []
    for shard in shards:
        if groups and sum(map(len, groups[-1])) + len(shard) <= GROUP_FACTS:
            groups[-1].append(shard)
        else:
            groups.append([shard])
    return groups


def probe_group(shards: Sequence[pd.DataFrame], prober: Prober, progress: Progress) -> list[ShardResult]:
    """Return the results of some shards; those that are not finished are sampled together.

    Arguments as for `probe_shard`. Of what another process computes meanwhile nothing is sampled here.
    """
    if len(shards) == 1:
        return [probe_shard(shards[0], prober, progress)]
    left = [shard for shard in shards if not _finished(shard, prober)]
    # A process that has sampled the whole group may be about to keep its shards one by one.
    whole = _joined(shards)
    group = whole if len(left) == len(shards) or _finished(whole, prober) else _joined(left) if left[1:] else None
    if group is None:
        return [probe_shard(shard, prober, progress) for shard in shards]
    finished = sum(len(prober.sentences[relation]) for relation in whole["relation"])
    progress(finished - sum(len(prober.sentences[relation]) for relation in group["relation"]))
    together, sampled = _sampled(group, prober, progress)
    results = [probe_shard(shard, prober, lambda prompts: None, together) for shard in shards]
    return [replace(results[0], sampled=results[0].sampled + sampled), *results[1:]]


def _joined(shards: Sequence[pd.DataFrame]) -> pd.DataFrame:
    # By relation, so that the key of the group, which lists its facts by relation, also stands for their order.
    return pd.concat(shards).sort_values("relation", kind="stable")


def probe_shard(facts: pd.DataFrame, prober: Prober, progress: Progress, group: Path | None = None) -> ShardResult:
    """Return the result of one shard: facts of one relation, columns as `completions.sample` wants them.

    `progress` is called with the number of finished prompts, whether they were sampled now or earlier. `group` holds
    the finished samples of a group that the shard belongs to, where it was sampled in one.
    """
    done, sampled = _sampled(facts, prober, progress, group)
    table = files.read_parquet(done / HITS)
    lists = {name: [row.tolist() for row in table[name]] for name in table if name != "fact_id"}
    found = [cast(Found, dict(zip(lists, row, strict=True))) for row in zip(*lists.values(), strict=True)]
    return ShardResult(found, done / TEXTS if prober.settings.keep_texts else None, sampled)


def _stages(facts: pd.DataFrame, prober: Prober) -> tuple[Stage, ...]:
    """Return the stage whose result the facts' samples are, and another one that would serve as well."""
    shards = [
        {
            **prober.identity,
            "version": RESULT_VERSION["completions"],
            "settings": prober.settings.model_dump(include=set(SAMPLING_FIELDS)),
            "sentences": list(prober.sentences[relation]),
            "facts": list(zip(own["fact_id"], own["subject"], accepted(own), strict=True)),
            **_adaptive(own, prober),
        }
        for relation, own in facts.groupby("relation", sort=False)
    ]
    depends = shards[0] if len(shards) == 1 else {"shards": shards}
    # What was sampled with its texts also serves where they are not kept.
    names = ("texts",) if prober.settings.keep_texts else ("hits", "texts")
    return tuple(Stage(name, {}, depends, prober.state / FOLDER) for name in names)


def _adaptive(facts: pd.DataFrame, prober: Prober) -> dict[str, Any]:
    """Return what the samples of adaptively probed facts depend on besides."""
    if prober.settings.method == "fixed":
        return {}
    known = {fact_id: prober.known[fact_id] for fact_id in facts["fact_id"] if fact_id in prober.known}
    calibration = asdict(prober.calibration) if prober.calibration else None
    return {"method": "adaptive", "version_adaptive": RESULT_VERSION["adaptive"], "calibration": calibration,
            **({"margin": prober.settings.margin, "known": known} if calibration else {})}  # fmt: skip


def _finished(facts: pd.DataFrame, prober: Prober) -> Path | None:
    return next((done for stage in _stages(facts, prober) if (done := stages.finished(stage))), None)


def _sampled(facts: pd.DataFrame, prober: Prober, progress: Progress, group: Path | None = None) -> tuple[Path, int]:
    """Return the folder that keeps the samples of facts, of a shard or of a group, and the prompts sampled now."""
    settings, keep, sampled = prober.settings, prober.settings.keep_texts, 0
    stage = _stages(facts, prober)[0]
    ids = facts["fact_id"].tolist()
    # Where the prompts of each fact begin.
    starts = np.cumsum([0, *(len(prober.sentences[relation]) for relation in facts["relation"])])

    def compute(folder: Path) -> None:
        """Sample what no journal holds yet, and write it; it is the same whatever order its batches came in."""
        nonlocal sampled
        journals = stages.resume_folder(stage)
        assert journals
        # A journal's batches count where the token budget, and so the plan of the batches, is the same.
        read = (record for path in sorted(journals.iterdir()) for record in map(json.loads, read_journal(path)))
        same = (record for record in read if record.pop("batch_tokens") == settings.batch_tokens)
        records = {record["batch"]: SampledBatch(**record) for record in same}
        model, tokenizer = prober.load()
        probe = Probe(model, tokenizer, prober.sentences, settings, progress, of=prober.identity["model"])
        adaptive = settings.method == "adaptive"
        rounds = Rounds(probe, facts, prober.calibration, prober.known) if adaptive else None
        if rounds:
            batches = rounds.sample(keep, dict(records))
        else:
            progress(sum(len(record.prompts) for record in records.values()))
            batches = completions.sample(probe, facts, keep_texts=keep, done=set(records))
        # One journal a process: an owner that stalled and was taken over may still write to its own.
        with journal(journals / f"journal-{uuid4().hex}") as append:
            for batch in batches:
                append(json.dumps({"batch_tokens": settings.batch_tokens, **asdict(batch)}).encode())
                records[batch.batch] = batch
                sampled += len(batch.prompts) * (batch.batch >= 0)
                progress(0 if rounds else len(batch.prompts))
        hits = np.full(starts[-1], -1)
        texts: list[Counter[str]] = [Counter() for _ in hits]
        for _, record in sorted(records.items()):
            hits[record.prompts] = record.hits
            for prompt, found in zip(record.prompts, record.texts, strict=False):
                texts[prompt].update(found)
        if rounds:
            columns = {str(name): lists.tolist() for name, lists in pd.DataFrame(rounds.found).items()}
        else:
            assert (hits >= 0).all(), "a batch is missing"
            columns = {"template_hits": [hits[start:end].tolist() for start, end in pairwise(starts)]}
        files.write_parquet(folder / HITS, pd.DataFrame({"fact_id": ids, **columns}))
        if keep:
            ordered = [completions.by_frequency(counts) for counts in texts]
            write_texts(folder / TEXTS, ids, [ordered[start:end] for start, end in pairwise(starts)])

    def take(folder: Path) -> None:
        """Write what the group has of these facts."""
        assert group
        table = files.read_parquet(group / HITS)
        files.write_parquet(folder / HITS, table[table["fact_id"].isin(ids)].reset_index(drop=True))
        if keep:
            table = pq.read_table(group / TEXTS, schema=TEXTS_SCHEMA)
            _write_tables(folder / TEXTS, [table.filter(pc.field("fact_id").isin(ids))])

    done = _finished(facts, prober)
    if done or not stages.run(stage, take if group else compute):
        progress(int(starts[-1]))
    done = done or stages.finished(stage)
    if done is None:
        raise DataError(f"{prober.state / FOLDER}: a finished shard disappeared; let nobody clean up during a run")
    return done, sampled


def write_texts(path: Path, fact_ids: Sequence[str], texts: Sequence[Sequence[Mapping[str, int]]]) -> None:
    """Write the texts of some facts: the distinct completions of each template, and how many samples gave each.

    They stand in the order of the facts, then of the templates.
    """
    rows = [
        {"fact_id": fact_id, "template": template, "text": text, "count": count}
        for fact_id, own in zip(fact_ids, texts, strict=True)
        for template, found in enumerate(own)
        for text, count in found.items()
    ]
    _write_tables(path, [pa.Table.from_pylist(rows, schema=TEXTS_SCHEMA)])


def join_texts(path: Path, parts: Iterable[Path]) -> None:
    """Write the tables `parts` into one file, one after the other: no more than one of them is in memory."""
    _write_tables(path, (pq.read_table(part, schema=TEXTS_SCHEMA) for part in parts))


def _write_tables(path: Path, tables: Iterable[pa.Table]) -> None:
    with (
        files.atomic_path(path) as partial,
        pq.ParquetWriter(partial, TEXTS_SCHEMA, compression="zstd", use_dictionary=True) as writer,
    ):
        for table in tables:
            writer.write_table(table)
