"""The page of a study: its figures and tables with their captions, and what did not finish, in one HTML file."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from sftlens.dag.targets import TARGETS, Target
from sftlens.reporting import charts, conclusions, frames, html, provenance
from sftlens.reporting.html import Cell, Table

STORY, PAPER, MORE = "The story", "The paper's figures and tables", "Every number"


def write(
    path: Path,
    *,
    study: str,
    results: pd.DataFrame,
    numbers: Mapping[str, pd.DataFrame],
    figures: Mapping[str, Path],
    notice: str,
    missing: Sequence[Mapping[str, str]],
    settings: Mapping[str, Any],
    runs: pd.DataFrame | None = None,
    bases: Sequence[dict[str, str]] = (),
    incomplete: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write the page of the study of this name atomically; equal arguments give equal bytes.

    `results` is its tidy table, which may be incomplete; of `numbers` (target -> frame) and `figures` (target -> PNG or
    SVG file, which may be absent) it shows the targets in the order of the registry; `missing` are the cells that did
    not finish: `cell`, `stage`, `log` and, if known, `reason` and `tail`, the last lines of the log; `runs` and
    `bases` are those of `results.runs`; `incomplete` is a sentence for each target that lacks results. Raises DataError
    for a figure of another format.
    """
    title = f"Study {study}: what fine-tuning does to a model's knowledge"
    trained = results[(results["stage"] == "evaluate") & (results["scale"] != "0")]
    cells = trained[frames.CELL].drop_duplicates()
    models, sets = (", ".join(dict.fromkeys(cells[name])) for name in ("model", "train_set"))
    summary = "No fine-tuned model has been evaluated yet." if trained.empty else (
        f"Models: {models}. Training sets: {sets}. Training examples n: {', '.join(frames.scales(cells['scale']))}. "
        f"Seeds: {cells['seed'].nunique()}. Fine-tuned models evaluated: {len(cells)}."
    )  # fmt: skip
    unfinished = [
        ("", [Cell(item["cell"], "", "any"), Cell(item["stage"]),
              Cell(item.get("reason", ""), item["log"], "any", "", item.get("tail", ""))])
        for item in missing
    ]  # fmt: skip
    head = [Cell(name) for name in ("Cell", "Stage", "Why, and its log")]
    there = [target for target in TARGETS if target.name in numbers]
    shown = [_section(target, numbers, figures, incomplete.get(target.name, "")) for target in there]
    named = (STORY, *dict.fromkeys(target.part for target in TARGETS if target.part), PAPER, MORE)
    parts = [(title, [section for section in shown if section["part"] == title]) for title in named]
    rows = [("", [Cell(key, "", "any code"), Cell(value, "", "any")]) for key, value in _flat(settings)]
    html.write(
        path, "reporting/report.html", charts=any(section["chart"] for section in shown), title=title, summary=summary,
        notice=notice, missing=Table(head, unfinished) if missing else None,
        parts=[(title, sections) for title, sections in parts if sections],
        cells=provenance.cells(runs) if runs is not None and len(runs) else None,
        cost=provenance.cost(runs) if runs is not None and len(runs) else None,
        made_with=provenance.made_with(runs) if runs is not None and len(runs) else "",
        models=provenance.models(bases) if bases else None, settings=Table([], rows),
        conclusions=conclusions.conclusions(results, numbers), titles={target.name: target.title for target in there},
    )  # fmt: skip


def _section(
    target: Target, numbers: Mapping[str, pd.DataFrame], figures: Mapping[str, Path], incomplete: str
) -> dict[str, Any]:
    """Return what the page says of one target: words, the image of a figure, and rows, open or folded."""
    table = target.page(numbers[target.name]) if target.page else numbers[target.name]
    same = [name for name in frames.PLAIN if name in table and table[name].nunique() == 1]
    here = ", ".join(f"{name.lower()} {table[name].iloc[0]}" for name in same)
    notes = [frames.said(target, table), target.caption, f"Here: {here}." if same else "", frames.seeds_note(table)]
    tinted = _certain(table, numbers[target.tints]) if target.tints in numbers else set()
    notes += ["Tinted only where the 95 % interval of the gain excludes zero." if tinted else "", incomplete]
    image = figures.get(target.name)
    phone = image and image.with_name(f"{image.stem}-narrow.svg")
    drawn = target.kind == "figure" and not table.empty and image is not None and image.is_file()
    chart = charts.chart(table, target.chart) if drawn and target.chart else None
    # A table without a number, such as verdicts on claims that this study cannot test, need not stand in the way.
    values = table.select_dtypes("number")
    closed = target.folded or (values.size > 0 and bool(values.isna().all(axis=None)))
    folded = "The numbers of this figure" if drawn else f"{len(table)} rows" if closed else ""
    return {
        "name": target.name,
        "part": target.part
        or (PAPER if target.of_paper or target.name.startswith("fig") else MORE if target.folded else STORY),
        "chart": chart,
        "kind": target.kind,
        "title": target.title,
        "words": " ".join(filter(None, notes)),
        "alt": f"{target.title}: {', '.join(dict.fromkeys(table['Model']))}" if drawn else "",
        "image": html.embedded(image) if drawn and image else "",
        "narrow": html.embedded(phone) if drawn and not chart and phone and phone.is_file() else "",
        "folded": folded,
        "table": None if table.empty or (target.draw and not drawn) else html.table(table.drop(columns=same), tinted),
    }


def _certain(table: pd.DataFrame, intervals: pd.DataFrame) -> set[tuple[int, str]]:
    """Return the rows and columns of a table whose gain has an interval that excludes zero.

    Columns of `table` are training sets; `intervals` has a row each, with `Low` and `High`.
    """
    keys = [name for name in intervals if name in table and not pd.api.types.is_numeric_dtype(intervals[name])]
    sure = intervals[(intervals["Low"] > 0) | (intervals["High"] < 0)]
    cells = set(sure[[*keys, "Trained on"]].itertuples(index=False, name=None))
    rows = enumerate(table[keys].itertuples(index=False, name=None))
    return {(i, name) for i, row in rows for name in table if (*row, name) in cells}


def _flat(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{key}.")
        else:
            listed = isinstance(value, (list, tuple))
            yield f"{above}{key}", ", ".join(map(str, value)) if listed else str(value)
