"""What every page is made of: one frame and stylesheet, tables, and images that lie in the page itself."""

import re
from base64 import b64encode
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from sftlens.errors import DataError
from sftlens.files import write_text
from sftlens.reporting.frames import as_text
from sftlens.reporting.scripts import scripts

_KINDS = {".png": "image/png", ".svg": "image/svg+xml"}


class Cell(NamedTuple):
    """One cell of a table: text, what is in small print behind it, classes of page.css, and their shade, 0 to 1."""

    text: str
    small: str = ""
    kind: str = ""
    shade: str = ""
    more: str = ""
    """Lines that unfold."""


_PLAIN = tuple(Cell("", "", kind)[1:] for kind in ("", "number", "code"))


class Table(NamedTuple):
    """A table; each row comes with its class."""

    head: Sequence[Cell]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    kind: str = ""

    @property
    def keys(self) -> list[int]:
        """The columns that name a row, after the first and before the numbers: a phone shows them below the first."""
        numbers = [i for i, cell in enumerate(self.head) if "number" in cell.kind]
        return list(range(1, numbers[0])) if numbers else []

    @property
    def data(self) -> list[list[str | list[str]]]:
        """Its cells as a JSON value for page.js: a text, or a list of what `Cell` holds."""
        return [[c.text if c[1:] in _PLAIN else list(c) for c in row] for _, row in self.rows]


LISTED = 400
"""Rows of a table that stand in the page as such; of a larger one the page holds all as JSON, and LEAD as rows."""
LEAD = 50

LOADER = PackageLoader("sftlens", ".")
PAGES = Environment(loader=LOADER, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


PAGES.globals.update(LISTED=LISTED, LEAD=LEAD)


def write(path: Path, template: str, *, charts: bool = False, **values: Any) -> None:
    """Write a page atomically; equal arguments give equal bytes.

    `template` is a file of this package that extends reporting/page.html. Values are escaped. `charts` says whether
    the page has charts and needs the script that draws them.
    """
    write_text(path, PAGES.get_template(template).render(scripts=scripts(charts=charts), **values))


def embedded(image: Path) -> str:
    """Return the address of a PNG or SVG file that holds the file itself. Raises DataError for other formats."""
    if image.suffix not in _KINDS:
        raise DataError(f"{image}: the page embeds PNG or SVG; give the figure in one of these formats")
    return f"data:{_KINDS[image.suffix]};base64,{b64encode(image.read_bytes()).decode('ascii')}"


def minus(text: str) -> str:
    """Return text with a minus sign before its negative numbers, and a dash where there is no number."""
    return "–" if text == "-" else re.sub(r"(?<!\w)-(?=\d)", "−", text)


def table(frame: pd.DataFrame, tinted: Container[tuple[int, str]] = ()) -> Table:
    """Return a target's frame as a table in which a column's SD or gain stands in the column's own cells.

    A row at which the first column changes is of the class `group`; `tinted` are the rows and columns whose gains may
    be tinted.
    """
    text = as_text(frame)
    inside = {f"{name}{suffix}" for name in frame for suffix in (" SD", " gain")}
    names = [name for name in frame if name not in inside]
    numeric = {name for name in names if pd.api.types.is_numeric_dtype(frame[name])}

    def column(name: str) -> list[Cell]:
        values = text[name].tolist()
        if name not in numeric:
            return [Cell(value) for value in values]
        spread, gain = f"{name} SD", f"{name} gain"
        if spread not in frame and gain not in frame:
            return [Cell(minus(value), "", "number") for value in values]
        beside = text[spread if spread in frame else gain].tolist()
        return [
            Cell(minus(value), "", "number") if small == "-"
            else Cell(minus(value), f"± {small}", "number") if spread in frame
            else _with_gain(value, float(small), (i, name) in tinted)
            for i, (value, small) in enumerate(zip(values, beside, strict=True))
        ]  # fmt: skip

    first = frame[names[0]]
    starts = (first.ne(first.shift()) & first.duplicated().any() & (frame.index != frame.index[0])).tolist()
    cells = zip(*map(column, names), strict=True)
    rows = [("group" if start else "", row) for start, row in zip(starts, cells, strict=True)]
    return Table([Cell(name, "", "number" if name in numeric else "") for name in names], rows)


def _with_gain(value: str, points: float, tinted: bool) -> Cell:
    """Return a value with its gain in brackets, if tinted the deeper the more points it is, up to ten."""
    signed = minus(f"{points:+.2f}") if points else "±0.00"
    if not tinted:
        return Cell(value, f"({signed})", "number")
    kind = "gain" if points > 0 else "loss"
    return Cell(value, f"({signed})", f"number {kind}", f"{0.08 + 0.37 * min(abs(points), 10) / 10:.2f}")
