"""Tables that a user brings or a stage wrote: Parquet, CSV, TSV or JSON lines, each also gzipped, told by the ending.

One reader for every program: columns get their types here, and a fault names file, line, column and remedy. A CSV file
with the columns question and answers and the row `Where was Ada born?,Oslo|Christiania` gives a fact whose fact_id is
the question, whose object is Oslo and whose aliases are both names.
"""

import ast
import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sftlens import files
from sftlens.data.buckets import BUCKETS
from sftlens.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
SEPARATOR = "|"
"""Between several texts in one cell of a CSV file; a JSON list is read too."""
EXAMPLE = '{"question": "Where was Ada born?", "answers": ["Oslo", "Christiania"]}'
_GIVE = (
    "give a Parquet (.parquet), CSV (.csv), TSV (.tsv) or JSON lines (.jsonl) file, or one of the last three gzipped"
)


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


def read(
    path: Path,
    columns: Sequence[str] = (),
    optional: Sequence[str] = (),
    *,
    any_of: Sequence[str] = (),
    rest: bool = False,
) -> "pd.DataFrame":
    """Return `columns` of a table, the first of `any_of` that there is, and those of `optional` that hold anything.

    Every value of these columns is checked and typed by the column's name (TYPES; the others are non-blank text). With
    `rest` all other columns too, as they are. The columns stand in the file's order. Raises DataError naming file, line
    or fact, column and remedy.
    """
    import pandas as pd

    parquet = kind(path) == "parquet"
    found = [] if parquet else rows(path)
    there = files.parquet_columns(path) if parquet else list(dict.fromkeys(name for _, row in found for name in row))
    files.require_columns(path, there, columns)
    if any_of and not set(any_of) & set(there):
        raise DataError(
            f"{path}: no column {' or '.join(map(repr, any_of))} (there are: {', '.join(there)}); write {EXAMPLE}"
        )
    columns = [*columns, *[name for name in any_of if name in there][:1]]
    if parquet:
        table = files.read_parquet(path, columns, optional, rest=rest)
        places = [f"fact {name!r}" if isinstance(name, str) else "" for name in table.get("fact_id", [])]
    else:
        wanted = [name for name in there if rest or name in (*columns, *optional)]
        table = pd.DataFrame({name: pd.Series([row.get(name) for _, row in found], dtype=object) for name in wanted})
        places = [place for place, _ in found]
    for name in [name for name in table if name in columns or name in optional]:
        if name not in columns and all(map(_blank, table[name])):
            del table[name]
            continue
        parse, found_values = TYPES.get(str(name), _text), []
        for i, value in enumerate(table[name]):
            try:
                found_values.append(parse(value))
            except ValueError as error:
                raise _fault(path, (places[i] if places else "") or f"row {i + 1}", name, value, error) from None
        table[name] = table[name].astype("str") if parse is _text else found_values
    return table


def facts(
    path: Path, columns: Sequence[str] = (), optional: Sequence[str] = (), *, rest: bool = False, unique: bool = True
) -> "pd.DataFrame":
    """Return questions with their answers, and further columns as `read` does.

    The file gives `question` and the accepted answers: `object`, with other accepted names in `aliases` if there are
    any, or `answers` (several: a list, or texts with | between them), or `answer`.

    Returns:
        Besides `columns` and `optional`: fact_id (without such a column the question, after its split if there is
        one), question, object (the first answer) and aliases (list of all accepted answers, the object first).

    Raises:
        DataError: a column is missing, a value is of another type or blank, or two facts that are to be `unique` have
            one fact_id.
    """
    answers = ("object", "answers", "answer")
    table = read(path, ["question", *columns], ["fact_id", "aliases", *optional], any_of=answers, rest=rest)
    given = next(name for name in answers if name in table)
    if given != "object":
        table["aliases"] = [[value] if isinstance(value, str) else value for value in table.pop(given)]
        table["object"] = [values[0] for values in table["aliases"]]
    others = table["aliases"] if "aliases" in table else [()] * len(table)
    accepted = [list(dict.fromkeys([first, *names])) for first, names in zip(table["object"], others, strict=True)]
    if "aliases" not in table or accepted != [list(names) for names in others]:
        table["aliases"] = accepted
    if "fact_id" not in table:
        splits = [f"{split}/" for split in table["split"]] if "split" in table else [""] * len(table)
        table.insert(0, "fact_id", [split + name for split, name in zip(splits, table["question"], strict=True)])
    twice = table["fact_id"].duplicated().to_numpy()
    if unique and twice.any():
        row = int(twice.argmax())
        column = "question" if table["fact_id"].iloc[row].endswith(table["question"].iloc[row]) else "fact_id"
        raise DataError(
            f"{path}, {rows(path)[row][0]}: the {column} {table[column].iloc[row]!r} stands there twice; delete one "
            "(further accepted answers go into the list `answers`)"
        )
    return table


def text(path: Path, place: str, row: Row, column: str) -> str:
    """Return the non-blank text in a column of one of `rows`. Raises DataError."""
    try:
        return _text(row.get(column))
    except ValueError as error:
        raise _fault(path, place, column, row.get(column), error) from None


def _fault(path: Path, place: str, column: str, value: object, reason: ValueError) -> DataError:
    shown = repr(value) if len(repr(value)) < 80 else repr(value)[:77] + "..."
    return DataError(f"{path}, {place}: column {column!r} holds {shown}, {reason}, or delete the row")


def _blank(value: Any) -> bool:
    return (
        not value.strip() if isinstance(value, str) else value is None or (isinstance(value, float) and value != value)
    )


def _text(value: Any) -> str:
    if isinstance(value, str) and value.strip():
        return value
    raise ValueError("no text; write one (a number in quotes)")


def _listed(value: Any) -> list[Any]:
    """Return the entries of a list, of an array, or of a cell that holds a list or texts with | between them."""
    if isinstance(value, str):
        for reader in (json.loads, ast.literal_eval) if value.strip().startswith("[") else ():
            with suppress(ValueError, SyntaxError):
                value = reader(value.strip())
                break
        else:
            return [part.strip() for part in value.split(SEPARATOR)]
    return list(value) if hasattr(value, "__iter__") and not isinstance(value, dict) else [None]


def _texts(value: Any) -> list[str]:
    listed = _listed(value)
    if listed and all(isinstance(entry, str) and entry.strip() for entry in listed):
        return listed
    raise ValueError(
        f"no answer or a blank one; write at least one text (several: a list, or with {SEPARATOR} between them)"
    )


def _names(value: Any) -> list[str]:
    return [] if _blank(value) or _listed(value) == [] else _texts(value)


def _whole(value: Any) -> int:
    with suppress(TypeError, ValueError, OverflowError):
        if not isinstance(value, bool) and float(value) == int(value):
            return int(value)
    raise ValueError("no whole number; write one")


def _number(value: Any) -> float:
    with suppress(TypeError, ValueError):
        if float(value) == float(value):
            return float(value)
    raise ValueError("no number; write one")


def _wholes(value: Any) -> list[int]:
    return [_whole(entry) for entry in _listed(value)]


def _one_of(*values: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value in values:
            return str(value)
        raise ValueError(f"none of {', '.join(values)}; write one")

    return parse


TYPES: dict[str, Callable[[Any], Any]] = {
    "aliases": _names, "answers": _texts, "hits": _whole, "trials": _whole, "mastery": _number,
    "template_hits": _wholes, "exposure": _whole, "bucket": _one_of(*BUCKETS),
    "split": _one_of("train", "dev", "test", "testood"), "domain": _one_of("id", "ood"),
}  # fmt: skip
"""How the values of a column are read; every other column that a program asks for is text."""


def _parquet(path: Path) -> Iterator[tuple[str, Row]]:
    for number, row in enumerate(files.read_parquet(path).to_dict("records"), 1):
        yield f"row {number}", {str(name): _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    """Return a value with the arrays that a Parquet table makes of lists as lists again."""
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    return [_plain(entry) for entry in value] if hasattr(value, "tolist") and getattr(value, "ndim", False) else value


def _opened(path: Path) -> IO[str]:
    # A line ends at \n only: str.splitlines and Python's default would also cut at U+2028, U+0085 or \r inside a text.
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="\n")
    return path.open(encoding="utf-8-sig", newline="\n")


def _csv(path: Path) -> Iterator[tuple[str, Row]]:
    with _opened(path) as file:
        reader = csv.DictReader(file, strict=True, delimiter="\t" if kind(path) == "tsv" else ",")
        try:
            header = list(reader.fieldnames or [])
            twice = [name for i, name in enumerate(header) if name in header[:i]]
            if twice:
                raise DataError(f"{path}, line 1: the column {twice[0]!r} stands there twice; rename or remove one")
            for row in reader:
                if None in row or None in row.values():
                    raise DataError(
                        f"{path}, line {reader.line_num}: has another number of fields than the header "
                        f"({', '.join(header)}); put fields with commas in double quotes"
                    )
                yield f"line {reader.line_num}", dict(row)
        except csv.Error as error:
            raise DataError(f"{path}, line {reader.line_num}: no readable CSV ({error}); mend this line") from None


def _jsonl(path: Path) -> Iterator[tuple[str, Row]]:
    with _opened(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            try:
                row = json.loads(line)
                json.dumps(row, ensure_ascii=False).encode() if "\\u" in line else None
            except json.JSONDecodeError as error:
                raise DataError(
                    f"{where}: no JSON ({error.msg}); write one object a line, not one list of all"
                ) from None
            except UnicodeEncodeError:
                raise DataError(
                    f"{where}: holds half of a surrogate pair (\\ud800 to \\udfff); write it whole"
                ) from None
            except RecursionError:
                raise DataError(f"{where}: is nested too deeply; write one object of a few values a line") from None
            if not isinstance(row, dict):
                raise DataError(f"{where}: is no JSON object; write one object {{...}} a line")
            yield f"line {number}", row
