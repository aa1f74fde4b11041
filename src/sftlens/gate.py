"""What may come out of a file that somebody else wrote: its values, and the names and patterns among them.

A model folder, a delta, an adapter or a table may be a stranger's. Whatever such a file says passes here before
anything is done with it: values have the types that are expected, a name is that of a plain file in the same folder,
and a regular expression runs in linear time (RE2: Cox, "Regular expression matching can be simple and fast", 2007).
"""

import json
import math
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from sftlens.errors import DataError, SftlensError

if TYPE_CHECKING:
    import pandas as pd

LONGEST_NAME = 255
"""Bytes of a file's name that Linux' file systems hold."""
LONGEST_PATTERN = 1000
"""Characters of a regular expression."""
FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""How a text begins that a spreadsheet takes for a formula, or such a text behind an apostrophe."""
NUMBER = re.compile(r"[-+]?(\d[\d,]*\.?\d*|\.\d+)([eE][-+]?\d+)?\s?%?|-")


def _plain_name(name: str) -> str:
    if not name or name.startswith(".") or "/" in name or not name.isprintable() or len(name) > LONGEST_NAME:
        raise ValueError("is no plain name of a file in this folder")
    return name


FileName = Annotated[str, AfterValidator(_plain_name)]
"""The type of a name inside a file: of a file beside it, visible (identity.describe leaves hidden ones out)."""
Count = Annotated[int, Field(ge=0, lt=1 << 62)]
"""The type of a number of bytes or elements, or of an offset."""
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
"""The type of a hexadecimal SHA-256."""


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def shaped(
    value: Any, kind: Any, source: Path, error: type[SftlensError] = DataError, remedy: str = "fetch it again"
) -> Any:
    """Return a value out of the file `source` that has the type `kind`; a number is no text and a bool no number.

    Raises `error` naming the file, the key, what is expected there, and the remedy.
    """
    try:
        found = _adapter(kind).validate_python(value, strict=True)
    except ValidationError as faults:
        first = faults.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if part != "[key]")
        said = first["msg"].removeprefix("Value error, ")
        whole = f"holds no mapping but {value!r:.60}" if "dict" in first["type"] else f"holds {value!r:.60}: {said}"
        expected = f"key {key!r} is {first['input']!r:.60}: {said}" if key else whole
        if first["type"] == "missing":
            expected = f"key {key!r} is missing"
        raise error(f"{source}: {expected}; {remedy}") from None
    return found


def parse_json(text: str, finite: bool = True) -> Any:
    """Return the value of a JSON text; unless `finite`, NaN and infinity may stand there as Python writes them.

    Raises ValueError, in one line, for what is no JSON or cannot be kept: a key that stands twice, NaN or infinity, a
    number with thousands of digits, nesting that is too deep, half of a surrogate pair.
    """
    numbers: dict[str, Any] = {"parse_constant": _no_number, "parse_float": _finite} if finite else {}
    try:
        value = json.loads(text, object_pairs_hook=_once, **numbers)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except _NoNumber as error:
        key = re.search(rf'("[^"]*")\s*:[\s\[]*{re.escape(str(error))}', text)
        raise ValueError(f"{f'key {key[1]}: ' if key else ''}{str(error)[:40]} is no finite number") from None
    # Only an escape can hold half a pair: UTF-8 itself cannot.
    if re.search(r"\\u[dD][89a-fA-F]", text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("a text holds half of a surrogate pair (\\ud800 to \\udfff)") from None
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"the key {repeated(name for name, _ in pairs)!r} stands there twice")
    return found


class _NoNumber(ValueError):
    """NaN or infinity; its text is what stands in the file."""


def _no_number(name: str) -> NoReturn:
    raise _NoNumber(name)


def _finite(digits: str) -> float:
    if not math.isfinite(value := float(digits)):
        raise _NoNumber(digits)
    return value


def repeated(values: Iterable[Any]) -> Any:
    """Return the first value that stands there for the second time, in linear time; None where there is none."""
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


def matching(pattern: str, names: Sequence[str]) -> list[bool]:
    """Return for each name whether a regular expression is found in it, in time linear in the name's length.

    Raises ValueError for what RE2 does not know: among others, look-around and references to groups.
    """
    # Arrow carries RE2, and tables need Arrow anyway.
    import pyarrow
    from pyarrow import compute

    if len(pattern) > LONGEST_PATTERN:
        raise ValueError(f"it has more than {LONGEST_PATTERN} characters")
    try:
        found: list[bool] = compute.match_substring_regex(pyarrow.array(names, pyarrow.string()), pattern).to_pylist()
    except (pyarrow.ArrowException, UnicodeError) as error:
        raise ValueError(str(error).removeprefix("Invalid regular expression: ")) from None
    return found


def printable(text: str) -> str:
    """Return text for a terminal: a question or an answer in it moves no cursor and changes no colour or title."""
    return re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", " ", text)


def harmless(value: Any) -> Any:
    """Return the value of a cell of a CSV file, which does in a spreadsheet what it does elsewhere: nothing.

    A text that a spreadsheet would take for a formula gets the apostrophe before it by which one writes such a text
    there by hand. What is a number stays one.
    """
    is_formula = isinstance(value, str) and FORMULA.match(value) and not NUMBER.fullmatch(value)
    return f"'{value}" if is_formula else value


def csv_text(table: "pd.DataFrame", float_format: str | None = None) -> str:
    """Return a table as CSV, every text in it `harmless`."""
    made = table.rename(columns=harmless)
    for name, column in made.items():
        if column.dtype.kind not in "biufM":
            made[name] = column.map(harmless)
    return made.to_csv(index=False, lineterminator="\n", float_format=float_format)
