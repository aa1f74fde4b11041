"""The texts of a probe: for each fact and template the distinct completions and how many samples gave each."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sftlens import files

SCHEMA = pa.schema([("fact_id", pa.string()), ("template", pa.int32()), ("text", pa.string()), ("count", pa.int32())])
"""`template` is the place among the relation's templates; `text` ends where the answer appeared."""


def write(path: Path, fact_ids: Sequence[str], texts: Sequence[Mapping[str, int]]) -> None:
    """Write the texts of some facts, in the order of the facts, then of the templates; as many of these for each."""
    templates = len(texts) // max(1, len(fact_ids))
    rows = [
        (fact_ids[i // templates], i % templates, text, count)
        for i, found in enumerate(texts)
        for text, count in found.items()
    ]
    _write(path, [pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], schema=SCHEMA)])


def join(path: Path, parts: Iterable[Path]) -> None:
    """Write the tables `parts` into one file, one after the other: no more than one of them is in memory."""
    _write(path, (pq.read_table(part, schema=SCHEMA) for part in parts))


def _write(path: Path, tables: Iterable[pa.Table]) -> None:
    with (
        files.atomic_path(path) as partial,
        pq.ParquetWriter(partial, SCHEMA, compression="zstd", use_dictionary=True) as writer,
    ):
        for table in tables:
            writer.write_table(table)
