"""The doubts of the study's readers: of each experiment one figure, one table and one sentence (docs/doubts.md)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftlens.dag.cells import BASE
from sftlens.dag.targets import TARGETS, Target
from sftlens.doubts import COLUMNS, DOUBTS, Doubt, sentence
from sftlens.reporting import style
from sftlens.statistics.worlds import NULL
from sftlens.strategies import DEFAULT

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from sftlens.results.answers import Answers

PART = "The readers' doubts"
_TEXTS = ("Model", "Quantity", "Series", "X", "Scope")
_COLUMNS = 2
_COLOURS = (
    "#0072b2", "#d55e00", "#00795c", "#b5519a", "#8a6d00", "#111111", "#5b3fa8", "#a8322d", "#4d8c2b", "#6e6e6e",
)  # fmt: skip
_MARKERS = "os^DvP>X<8"


def numbers(doubt: Doubt, answers: Answers) -> pd.DataFrame:
    """Return the rows of an experiment, with COLUMNS.

    Of full fine-tuning alone, and of models whose mastery was measured: in a part of a study some are still to come.
    """
    import pandas as pd

    measured = {model for model in answers.paths.study.models if Path(answers.paths.mastery(model)).is_file()}
    answers.grid = {
        one: runs for one, runs in answers.grid.items() if one.model in measured and one.strategy in (BASE, DEFAULT)
    }
    answers.results = answers.results[answers.results["strategy"].isin(["", BASE, DEFAULT])]
    table = pd.DataFrame(doubt.measure(answers), columns=list(COLUMNS))
    return table.astype({name: "str" if name in _TEXTS else "float64" for name in COLUMNS})


def said(doubt: Doubt, table: pd.DataFrame) -> str:
    """Return the sentence of each model, from its first row."""
    first = table.drop_duplicates("Model")
    return " ".join(
        (f"{one['Model']}: " if len(first) > 1 else "") + sentence(doubt, one) for _, one in first.iterrows()
    )


def draw(numbers: pd.DataFrame, notice: str) -> Figure:
    """Return one panel for each model and quantity: estimates with their intervals against X, one series a colour.

    A line joins a series where X are numbers.
    """
    found = list(numbers.groupby(["Model", "Quantity"], sort=False))
    several = numbers["Model"].nunique() > 1
    names = list(dict.fromkeys(numbers["Series"]))
    looks = _looks(names)
    scopes = ", ".join(scope for scope in dict.fromkeys(numbers["Scope"]) if scope != NULL)
    columns = min(_COLUMNS, max(1, len(found)))
    figure, grid = style.page(
        -(-len(found) // columns), columns, (3.9, 2.7), sharey=False,
        legend=[[style.key(name, ls="", **looks[name]) for name in names]] if names else [],
        foot=[f"Bars: 95 % intervals, {scopes}." if scopes else "", notice],
    )  # fmt: skip
    for axes, ((model, quantity), rows) in zip(grid.flat, found, strict=False):
        numeric = all(x.replace(".", "", 1).isdigit() for x in rows["X"])
        values, joined = dict.fromkeys(rows["X"]), "-" if numeric else ""
        places = {x: i for i, x in enumerate(sorted(values, key=float) if numeric else values)}
        shown = list(dict.fromkeys(rows["Series"]))
        for i, name in enumerate(shown):
            line = rows[rows["Series"] == name].sort_values("X", key=lambda x: x.map(places))
            x = line["X"].map(places) + (i - (len(shown) - 1) / 2) * 0.3 / len(shown)
            bars = [line["Estimate"] - line["Low"], line["High"] - line["Estimate"]]
            axes.errorbar(
                x, line["Estimate"], yerr=[bar.fillna(0) for bar in bars], ls=joined, elinewidth=0.9, lw=1.2,
                **looks[name],
            )  # fmt: skip
        if "points" in quantity:
            axes.axhline(0, color=style.GREY, lw=0.8, zorder=1)
        axes.set_xticks(list(places.values()), list(places))
        axes.set_xlim(-0.5, len(places) - 0.5)
        axes.set_title(f"{model}: {quantity}" if several else quantity, loc="left")
    for axes in list(grid.flat)[len(found) :] if found else []:
        style.nothing(axes, "")
    return figure


def _looks(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return colour and marker of each series: its own where it has one everywhere, else the next of the palette.

    A marker without a face has no white edge.
    """
    rest = [name for name in names if name not in style.LOOKS]
    looks = dict(zip(rest, itertools.cycle(zip(_COLOURS, _MARKERS, strict=True)), strict=False))
    found = {name: style.LOOKS.get(name) or looks[name] for name in names}
    return {
        name: {"color": colour, "marker": marker, **({} if marker in "x+1" else style.EDGE)}
        for name, (colour, marker) in found.items()
    }


for doubt in DOUBTS:
    TARGETS.add(Target(
        doubt.name, 80 + doubt.place / 100, doubt.name, doubt.question, f"What this cannot say: {doubt.limit}",
        partial(numbers, doubt), draw, answers=True, tabled=True, part=PART, says=partial(said, doubt),
    ))  # fmt: skip
