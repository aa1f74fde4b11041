"""One self-contained HTML page of a study: its figures and tables with captions, and what did not finish."""

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import pandas as pd

from sftlens.errors import DataError
from sftlens.files import write_text
from sftlens.reporting import tables
from sftlens.reporting.captions import CAPTIONS, FOLDED

_PLAIN = ("Model", "Strategy", "Criterion", "Region")


def write(
    path: Path,
    *,
    study: str,
    results: Mapping[str, pd.DataFrame],
    figures: Mapping[str, Path],
    intervals: Mapping[str, pd.DataFrame],
    notice: str,
    missing: Sequence[Mapping[str, str]],
    settings: Mapping[str, Any],
) -> None:
    """Write the page atomically; equal arguments give equal bytes.

    Args:
        path: the HTML file.
        study: name of the study, for the title.
        results: target -> its rows of the study's tidy table, which may be incomplete; only these targets are shown.
        figures: target -> PNG or SVG file to embed; one that is absent shows a placeholder.
        intervals: target of `intervals` -> its frame, shown folded.
        notice: a sentence shown in a box at the top and under each table; "" for none.
        missing: cells that did not finish, each with keys `cell`, `stage`, `log` and, if known, `reason`.
        settings: the study's configuration, nested as it is in its file.

    Raises:
        DataError: a figure is neither PNG nor SVG.
    """
    page = Template(files("sftlens.reporting").joinpath("report.html").read_text(encoding="utf-8"))
    sections = [_section(name, results[name], figures.get(name), notice) for name in CAPTIONS if name in results]
    sections += [_folded(name, table, notice) for name, table in intervals.items()]
    text = page.substitute(
        title=escape(f"Study {study}: what fine-tuning does to a model's knowledge"),
        summary=_summary(pd.concat(list(results.values())).drop_duplicates()),
        notice=f'<div class="box"><p>{escape(notice)}</p></div>' if notice else "",
        missing=_missing(missing),
        sections="\n".join(sections),
        settings=_settings(settings),
    )
    write_text(path, text)


def _section(name: str, results: pd.DataFrame, image: Path | None, notice: str) -> str:
    heading, caption = CAPTIONS[name]
    table = tables.build(name, results)
    if name in tables.NAMES:
        shown, here, below = _table(table), _constants(table), _note(notice)
    else:
        shown, here, below = _drawn(heading, table, image), "", _numbers(table, notice)
    words = " ".join(part for part in (escape(caption), here, escape(tables.seeds_note(table))) if part)
    return (
        f'<section id="{name}">\n<h2>{escape(heading)}</h2>\n<figure>\n{shown}\n'
        f"<figcaption>{words}</figcaption>\n</figure>\n{below}</section>"
    )


def _folded(name: str, table: pd.DataFrame, notice: str) -> str:
    heading, caption = FOLDED[name]
    inside = f"{_table(table)}\n{_note(notice)}"
    return (
        f'<section id="{name}">\n<h2>{escape(heading)}</h2>\n<p class="soft">{escape(caption)} '
        f"{_constants(table)}</p>\n<details>\n<summary>{len(table)} rows</summary>\n{inside}</details>\n</section>"
    )


def _drawn(heading: str, table: pd.DataFrame, image: Path | None) -> str:
    if table.empty or image is None or not image.is_file():
        return '<p class="empty">No results yet for this figure.</p>'
    kinds = {".png": "image/png", ".svg": "image/svg+xml"}
    if image.suffix not in kinds:
        raise DataError(f"{image}: the page embeds PNG or SVG; give the figure in one of these formats")
    data = b64encode(image.read_bytes()).decode("ascii")
    models = ", ".join(dict.fromkeys(table["Model"]))
    return f'<img alt="{escape(f"{heading}: {models}")}" src="data:{kinds[image.suffix]};base64,{data}">'


def _table(table: pd.DataFrame) -> str:
    if table.empty:
        return '<p class="empty">No results yet for this table.</p>'
    return _grid(table.drop(columns=_constant(table)))


def _numbers(table: pd.DataFrame, notice: str) -> str:
    """Return the numbers behind a figure, folded away."""
    if table.empty:
        return ""
    inside = f"{_table(table)}\n{_note(notice)}"
    return f"<details>\n<summary>The numbers of this figure</summary>\n{inside}</details>\n"


def _note(notice: str) -> str:
    return f'<p class="note">{escape(notice)}</p>\n' if notice else ""


def _constant(table: pd.DataFrame) -> list[str]:
    return [name for name in _PLAIN if name in table and table[name].nunique() == 1]


def _constants(table: pd.DataFrame) -> str:
    """Return a sentence for the axes that do not vary, which are left out of the rows."""
    parts = [f"{name.lower()} {table[name].iloc[0]}" for name in _constant(table)]
    return escape(f"Here: {', '.join(parts)}.") if parts else ""


def _grid(table: pd.DataFrame) -> str:
    """Return an HTML table in which a column's SD or gain stands in the column's own cells."""
    text = tables.as_text(table)
    inside = {f"{name}{suffix}" for name in table for suffix in (" SD", " gain")}
    names = [name for name in table if name not in inside]
    head = "".join(f'<th scope="col"{_numeric(table, name)}>{escape(name)}</th>' for name in names)
    first = table[names[0]]
    grouped = first.duplicated().any()
    rows = [
        ('<tr class="group">' if grouped and i and first.iloc[i] != first.iloc[i - 1] else "<tr>")
        + "".join(_cell(table, text, i, name) for name in names)
        + "</tr>"
        for i in range(len(table))
    ]
    return _html_table(f"<thead><tr>{head}</tr></thead>\n", rows)


def _html_table(head: str, rows: Sequence[str]) -> str:
    body = "\n".join(rows)
    return f'<div class="wide"><table>\n{head}<tbody>\n{body}\n</tbody></table></div>'


def _numeric(table: pd.DataFrame, name: str) -> str:
    return ' class="number"' if pd.api.types.is_numeric_dtype(table[name]) else ""


def _cell(table: pd.DataFrame, text: pd.DataFrame, row: int, name: str) -> str:
    value = escape(str(text[name].iloc[row]))
    if not _numeric(table, name):
        return f"<td>{value}</td>"
    if f"{name} SD" in table and pd.notna(table[f"{name} SD"].iloc[row]):
        return f'<td class="number">{value} <small>± {text[f"{name} SD"].iloc[row]}</small></td>'
    if f"{name} gain" in table and pd.notna(table[f"{name} gain"].iloc[row]):
        return _gain_cell(value, str(text[f"{name} gain"].iloc[row]))
    return f'<td class="number">{value}</td>'


def _gain_cell(value: str, gain: str) -> str:
    """Return an accuracy with its gain in brackets; the shade grows with the gain up to ten points."""
    points = float(gain)
    kind = "gain" if points > 0 else "loss" if points < 0 else "same"
    signed = f"{points:+.2f}".replace("-", "−") if points else "±0.00"
    shade = f"{0.08 + 0.37 * min(abs(points), 10) / 10:.2f}"
    return f'<td class="number {kind}" style="--much:{shade}">{value} <small>({signed})</small></td>'


def _summary(results: pd.DataFrame) -> str:
    """Return one line on what the study holds."""
    trained = results[(results["stage"] == "evaluate") & (results["scale"] != "0")]
    if trained.empty:
        return "No fine-tuned model has been evaluated yet."
    cells = trained[["model", "train_set", "scale", "seed", "strategy"]].drop_duplicates()
    models, sets = (", ".join(sorted(set(cells[name]))) for name in ("model", "train_set"))
    return escape(
        f"Models: {models}. Training sets: {sets}. "
        f"Training examples n: {', '.join(tables.scales(cells['scale']))}. "
        f"Seeds: {cells['seed'].nunique()}. Fine-tuned models evaluated: {len(cells)}."
    )


def _missing(missing: Sequence[Mapping[str, str]]) -> str:
    if not missing:
        return ""
    rows = [
        f'<tr><td class="any">{escape(str(item["cell"]))}</td><td>{escape(str(item["stage"]))}</td>'
        f'<td class="any">{escape(str(item.get("reason", "")))} <code>{escape(str(item["log"]))}</code></td></tr>'
        for item in missing
    ]
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Cell", "Stage", "Why, and its log"))
    return (
        '<div class="box alarm" id="missing"><h2>Cells that did not finish</h2>\n'
        "<p>They are gaps in the figures and dashes in the tables below.</p>\n"
        f"{_html_table(f'<thead><tr>{head}</tr></thead>', rows)}</div>"
    )


def _settings(settings: Mapping[str, Any]) -> str:
    rows = [
        f'<tr><th scope="row"><code>{escape(key)}</code></th><td class="any">{escape(value)}</td></tr>'
        for key, value in _flat(settings)
    ]
    return _html_table("", rows)


def _flat(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{key}.")
        else:
            listed = isinstance(value, (list, tuple))
            yield f"{above}{key}", ", ".join(map(str, value)) if listed else str(value)
