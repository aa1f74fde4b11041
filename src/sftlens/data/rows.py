"""Rows of a file: Parquet, CSV, TSV or JSON lines, each of the last three also gzipped, told by the ending.

Texts are UTF-8 or UTF-16, with or without a byte order mark. A CSV file may separate its fields by semicolons or tabs;
a file that ends in .json may hold one list of all rows.
"""

import codecs
import csv
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from sftlens import files
from sftlens.errors import DataError
from sftlens.gate import FORMULA, parse_json, repeated

Row = dict[str, Any]
_GIVE = (
    "give a Parquet (.parquet), CSV (.csv), TSV (.tsv) or JSON lines (.jsonl) file, or one of the last three gzipped"
)
_MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"}
_MARKS |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
"""Byte order mark -> encoding; the longer marks first, as one begins with another."""


def kind(path: Path) -> str:
    """Return parquet, csv, tsv or jsonl by the ending of a file, in capitals or not. Raises DataError for another."""
    name = path.name.lower()
    ending = Path(name.removesuffix(".gz")).suffix
    found = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "tsv"}
    found |= dict.fromkeys((".jsonl", ".ndjson", ".json"), "jsonl")
    if ending not in found or (found[ending] == "parquet" and name.endswith(".gz")):
        raise DataError(f"{path}: ends in {path.suffix!r}; {_GIVE}")
    return found[ending]


def rows(path: Path) -> list[tuple[str, Row]]:
    """Return (place, row) of each row as it stands, the place being `line 7` or, in Parquet, `row 7`.

    Values of a CSV file are texts. Raises DataError when the file is missing, empty, of another kind or malformed.
    """
    read = {"parquet": _parquet, "csv": _csv, "tsv": _csv, "jsonl": _jsonl}[kind(path)]
    if not path.is_file():
        raise DataError(f"{path}: no such file; correct the path")
    try:
        found = list(read(path))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text ({error}); save it as UTF-8") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: is damaged or no gzip file ({error}); make it again, or drop .gz") from None
    if not found:
        raise DataError(f"{path}: holds no rows; write one row for each example")
    return found


def whole(path: Path) -> Any:
    """Return the value of a file that ends in .json and holds one; None for any other file."""
    if not path.name.lower().removesuffix(".gz").endswith(".json") or not path.is_file():
        return None
    try:
        with _opened(path, newline="\n") as file:
            return parse_json(file.read(), finite=False)
    except (ValueError, gzip.BadGzipFile, EOFError, zlib.error):  # JSON lines, or damaged: `rows` says where
        return None


def _parquet(path: Path) -> Iterator[tuple[str, Row]]:
    for number, row in enumerate(files.read_parquet(path).to_dict("records"), 1):
        yield f"row {number}", {str(name): _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    """Return a value with the arrays that a Parquet table makes of lists as lists again."""
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    return [_plain(entry) for entry in value] if hasattr(value, "tolist") and getattr(value, "ndim", False) else value


def _opened(path: Path, newline: str) -> IO[str]:
    with path.open("rb") as file:
        zipped = path.name.lower().endswith(".gz") or file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if zipped else path.open("rb") as file:
        head = file.read(4)
    encoding = next((name for mark, name in _MARKS.items() if head.startswith(mark)), "utf-8-sig")
    if encoding == "utf-8-sig" and b"\0" in head:  # UTF-16 without a mark: every second byte of plain letters is 0
        encoding = "utf-16-be" if head.startswith(b"\0") else "utf-16-le"
    if zipped:
        return gzip.open(path, "rt", encoding=encoding, newline=newline)
    return path.open(encoding=encoding, newline=newline)


def _csv(path: Path) -> Iterator[tuple[str, Row]]:
    with _opened(path, newline="") as file:
        first = file.readline()
        file.seek(0)
        marks = ["\t"] if kind(path) == "tsv" else [mark for mark in (",", ";", "\t") if mark in first]
        reader = csv.reader(file, strict=True, delimiter=(marks or [","])[0])
        try:
            header = [name.strip() for name in next(reader, [])]
            if (twice := repeated(header)) is not None:
                raise DataError(f"{path}, line 1: the column {twice!r} stands there twice; rename or remove one")
            for row in reader:
                if len(row) not in (0, len(header)):
                    raise DataError(
                        f"{path}, line {reader.line_num}: has another number of fields than the header "
                        f"({', '.join(header)}); put fields with commas in double quotes"
                    )
                if row:
                    # The apostrophe of `gate.harmless` is none of the text.
                    cells = [cell[1:] if FORMULA.match(cell) and cell[0] == "'" else cell for cell in row]
                    yield f"line {reader.line_num}", dict(zip(header, cells, strict=True))
        except csv.Error as error:
            raise DataError(f"{path}, line {reader.line_num}: no readable CSV ({error}); mend this line") from None


def _jsonl(path: Path) -> Iterator[tuple[str, Row]]:
    # A line ends at \n only: str.splitlines and Python's default would also cut at U+2028, U+0085 or \r inside a text.
    with _opened(path, newline="\n") as file:
        whole = path.name.lower().removesuffix(".gz").endswith(".json") and file.read(1) == "["
        file.seek(0)
        for number, line in enumerate([file.read()] if whole else file, 1):
            if not line.strip():
                continue
            place = f"line {number}"
            try:
                value = parse_json(line, finite=False)
            except ValueError as error:
                where = path if whole else f"{path}, {place}"
                raise DataError(f"{where}: no JSON ({error}); write one object a line, not one list of all") from None
            for i, row in enumerate(value if whole else [value], 1):
                place = f"item {i}" if whole else place
                if not isinstance(row, dict):
                    raise DataError(f"{path}, {place}: is no JSON object; write one object {{...}} a line")
                yield place, row
