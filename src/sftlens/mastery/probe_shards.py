"""The shards of a probe: facts of one relation, sampled together, kept on disk, and resumed where they stopped.

A finished shard is a stage of its own, keyed by everything its completions depend on and by nothing else: another
study, or the same one after an edit of other facts or relations, finds it finished. Inside a shard every
finished batch is in a journal.
"""

import hashlib
import json
import os
import struct
import time
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sftlens import files
from sftlens.config.stages.mastery import SAMPLING_FIELDS, ProbingSettings
from sftlens.data.scoring import accepted
from sftlens.errors import DataError
from sftlens.mastery import completions
from sftlens.mastery.completions import Probe, SampledBatch
from sftlens.runtime import stages
from sftlens.runtime.result_version import RESULT_VERSION
from sftlens.runtime.stages import Stage

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SHARD_FACTS = 512
"""Most facts of a shard: what is tokenised at once, and the least that another study can reuse."""
FOLDER = "probe-shards"
HITS, TEXTS = "hits.parquet", "texts.parquet"
TEXTS_SCHEMA = pa.schema(
    [("fact_id", pa.string()), ("template", pa.int32()), ("text", pa.string()), ("count", pa.int32())]
)
"""`template` is the index among the relation's templates; `text` ends where the answer appeared."""
SYNC_SECONDS = 1.0
"""A killed process loses no record that it appended; a machine that fails loses those of about this time."""

_RECORD = struct.Struct("<II")
"""Length and checksum in front of a record of a journal."""

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


@dataclass(frozen=True)
class ShardResult:
    """The result of one shard."""

    hits: np.ndarray
    """int64 [facts, templates]."""
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


def probe_shard(facts: pd.DataFrame, prober: Prober, progress: Progress) -> ShardResult:
    """Return the result of one shard: facts of one relation, columns as `completions.sample` wants them.

    `progress` is called with the number of finished prompts, whether they were sampled now or earlier.
    """
    settings, keep = prober.settings, prober.settings.keep_texts
    sentences = prober.sentences[facts["relation"].iloc[0]]
    ids, shape, sampled = facts["fact_id"].tolist(), (len(facts), len(sentences)), 0
    depends = {
        **prober.identity,
        "version": RESULT_VERSION["completions"],
        "settings": settings.model_dump(include=set(SAMPLING_FIELDS)),
        "sentences": list(sentences),
        "facts": list(zip(facts["fact_id"], facts["subject"], accepted(facts), strict=True)),
    }
    with_texts, without = (Stage(name, {}, depends, prober.state / FOLDER) for name in ("texts", "hits"))
    stage = with_texts if keep else without

    def compute(folder: Path) -> None:
        """Sample what no journal holds yet, and write the shard; it is the same whatever order its batches came in."""
        nonlocal sampled
        journals = stages.resume_folder(stage)
        assert journals
        # A journal's batches count where the token budget, and so the plan of the batches, is the same.
        read = (record for path in sorted(journals.iterdir()) for record in map(json.loads, read_journal(path)))
        same = (record for record in read if record.pop("batch_tokens") == settings.batch_tokens)
        records = {record["batch"]: SampledBatch(**record) for record in same}
        progress(sum(len(record.prompts) for record in records.values()))
        model, tokenizer = prober.load()
        probe = Probe(model, tokenizer, prober.sentences, settings, of=prober.identity["model"])
        batches = completions.sample(probe, facts, keep_texts=keep, done=set(records))
        # One journal a process: an owner that stalled and was taken over may still write to its own.
        with journal(journals / f"journal-{uuid4().hex}") as append:
            for batch in batches:
                append(json.dumps({"batch_tokens": settings.batch_tokens, **asdict(batch)}).encode())
                records[batch.batch] = batch
                sampled += len(batch.prompts)
                progress(len(batch.prompts))
        hits = np.full(shape[0] * shape[1], -1)
        texts: list[dict[str, int]] = [{}] * len(hits)
        for record in records.values():
            hits[record.prompts] = record.hits
            for prompt, found in zip(record.prompts, record.texts, strict=False):
                texts[prompt] = found
        assert (hits >= 0).all(), "a batch is missing"
        table = pd.DataFrame({"fact_id": ids, "template_hits": hits.reshape(shape).tolist()})
        files.write_parquet(folder / HITS, table)
        if keep:
            write_texts(folder / TEXTS, ids, texts)

    # A shard that was sampled with its texts also serves where they are not kept.
    done = stages.finished(stage) or stages.finished(with_texts)
    if done or not stages.run(stage, compute):
        progress(shape[0] * shape[1])
    done = done or stages.finished(stage)
    if done is None:
        raise DataError(f"{prober.state / FOLDER}: a finished shard disappeared; let nobody clean up during a run")
    hits = np.array(files.read_parquet(done / HITS)["template_hits"].tolist(), dtype=np.int64)
    return ShardResult(hits, done / TEXTS if keep else None, sampled)


def write_texts(path: Path, fact_ids: Sequence[str], texts: Sequence[Mapping[str, int]]) -> None:
    """Write the texts of some facts: the distinct completions of each template, and how many samples gave each.

    They stand in the order of the facts, then of the templates; as many of these for each.
    """
    templates = len(texts) // max(1, len(fact_ids))
    rows = [
        {"fact_id": fact_ids[i // templates], "template": i % templates, "text": text, "count": count}
        for i, found in enumerate(texts)
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


def read_journal(path: Path) -> Iterator[bytes]:
    """Yield the records of a journal up to the first torn or damaged one.

    It is an append-only file whose writer may be killed at any moment: each record has its length and checksum.
    """
    with path.open("rb") as file:
        while len(header := file.read(_RECORD.size)) == _RECORD.size:
            length, checksum = _RECORD.unpack(header)
            record = file.read(length)
            # Some file systems leave zeros behind after a failure: they would pass for empty records.
            if not record or len(record) < length or zlib.crc32(record) != checksum:
                return
            yield record


@contextmanager
def journal(path: Path) -> Iterator[Callable[[bytes], None]]:
    """Make a new journal and yield the function that appends a record, which must not be empty.

    Nobody appends to a journal that another process began: behind a torn record nothing would be found again.
    """
    with path.open("xb") as file:
        synced = time.monotonic()

        def append(record: bytes) -> None:
            nonlocal synced
            file.write(_RECORD.pack(len(record), zlib.crc32(record)) + record)
            file.flush()
            if time.monotonic() - synced >= SYNC_SECONDS:
                os.fsync(file.fileno())
                synced = time.monotonic()

        yield append
