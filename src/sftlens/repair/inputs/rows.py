"""Reading the files that users bring, CSV or JSON lines: every fault names file, line and remedy."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sftlens.errors import DataError

Row = dict[str, Any]


def read(path: Path) -> list[tuple[int, Row]]:
    """Return (line number, row) of each row of a .csv (with a header), .jsonl or .json lines file.

    Raises DataError when the file is missing, empty, of another kind, or a line is malformed.
    """
    kinds = {".csv": _csv, ".jsonl": _jsonl, ".ndjson": _jsonl, ".json": _jsonl}
    if path.suffix not in kinds:
        raise DataError(f"{path}: ends in {path.suffix!r}; give a .csv file with a header, or .jsonl")
    if not path.is_file():
        raise DataError(f"{path}: no such file; correct the path")
    try:
        rows = list(kinds[path.suffix](path))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text ({error}); save it as UTF-8") from None
    if not rows:
        raise DataError(f"{path}: holds no rows; write one row for each example")
    return rows


def text(path: Path, line: int, row: Row, column: str) -> str:
    """Return the non-blank text in a column. Raises DataError."""
    value = row.get(column)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{path}, line {line}: column {column!r} holds {value!r}, no text; write one or delete the row")
    return value


def missing(path: Path, row: Row, wanted: str, example: str) -> DataError:
    """Return the error of a file without a column that is needed."""
    return DataError(f"{path}: no column {wanted} (there are: {', '.join(map(str, row))}); write {example}")


def _csv(path: Path) -> Iterator[tuple[int, Row]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            for row in reader:
                if None in row or None in row.values():
                    raise DataError(
                        f"{path}, line {reader.line_num}: has another number of fields than the header "
                        f"({', '.join(reader.fieldnames or [])}); put fields with commas in double quotes"
                    )
                yield reader.line_num, dict(row)
        except csv.Error as error:
            raise DataError(f"{path}, line {reader.line_num}: no readable CSV ({error}); mend this line") from None


def _jsonl(path: Path) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{path}, line {number}: no JSON ({error.msg}); write one object a line, not one list of all"
            ) from None
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: is no JSON object; write one object {{...}} a line")
        yield number, row
