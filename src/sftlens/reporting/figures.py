"""The paper's figures, drawn from results.parquet: the same results give the same bytes."""

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sftlens.errors import DataError
from sftlens.files import atomic_path
from sftlens.reporting import change_figures, exposure, tables

FORMATS = ("png", "svg", "pdf")

# Dark to light, ordered by mastery; brightness and marker tell lines apart where colour does not.
_SERIES = {
    "D0": ("#0d0887", "o"),
    "D1": ("#7e03a8", "s"),
    "D2": ("#cc4778", "D"),
    "D3": ("#ee7b51", "^"),
    "D4": ("#cfa000", "X"),
    "mixed": ("#2b2b2b", "P"),
}
_REFERENCES = {tables.BASE: (0, (5, 3)), tables.FEWSHOT: (0, (1, 1.6))}
_OTHER = ("#2b2b2b", "v")
_GREY = "#6e6e6e"
_EDGE: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 0.6}
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "lines.linewidth": 1.6,
    "lines.markersize": 5.5,
    "pdf.fonttype": 42,
    "svg.hashsalt": "sftlens",
}
# Inches: a panel (by the panels in a row), the height of the title, of a line of the legend, of a line of the
# foot; then the characters of the foot that surely fit an inch.
_PANEL = {1: (5.4, 3.3), 2: (3.7, 3.0), 3: (3.1, 2.7)}
_TITLE, _LEGEND, _FOOT, _PER_INCH = 0.38, 0.22, 0.155, 16.5


_Cell = tuple[str, pd.DataFrame] | None


@dataclass(frozen=True)
class _Plan:
    """What a figure says in words; its numbers are `tables.build(name, results)`."""

    title: str
    value: str
    axis: str
    by_test_set: bool


_PLANS = {
    "fig2": _Plan("Accuracy against the number of training examples", tables.ACCURACY,
                  "Accuracy, mean of the five\nmastery buckets (%)", True),
    "fig4": _Plan("Accuracy on well-known facts (test bucket D4)", tables.ACCURACY,
                  "Accuracy on test bucket D4 (%)", False),
    "fig5": _Plan("KL divergence from the base model (test bucket D4)", tables.KL,
                  "KL divergence, first token (nats)", False),
}  # fmt: skip
_OTHERS = {"exposure": exposure.compose, **change_figures.COMPOSE}
NAMES = (*_PLANS, *_OTHERS)


def draw(name: str, results: pd.DataFrame, notice: str = "") -> Figure:
    """Return one figure of the paper, one panel per model (fig2: per model, in-domain and out-of-domain).

    Args:
        name: one of `NAMES`.
        results: the tidy table of a study. A missing cell is a gap in its line; without any, it says so.
        notice: a sentence printed under the panels of the figure.

    Raises:
        DataError: there is no such figure.
    """
    if name not in NAMES:
        raise DataError(f"no figure named {name!r}; choose one of {', '.join(NAMES)}")
    numbers = tables.build(name, results)
    with _style():
        plan = _PLANS.get(name)
        figure = _compose(plan, numbers, notice) if plan else _OTHERS[name](numbers, notice)
    figure.set_label(notice)
    return figure


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write `stem`.png (150 dpi), .svg and .pdf, each atomically and without a date; return their paths."""
    notice = str(figure.get_label())
    metadata: dict[str, dict[str, Any]] = {
        "png": {"Software": None, "Description": notice},
        "svg": {"Date": None, "Creator": None, "Description": notice},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None, "Subject": notice},
    }
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in FORMATS]
    with _style():
        for suffix, path in zip(FORMATS, paths, strict=True):
            with atomic_path(path) as partial:
                figure.savefig(partial, format=suffix, dpi=150, metadata=metadata[suffix])
    return paths


@contextmanager
def _style() -> Iterator[None]:
    """Apply our style on matplotlib's own defaults, whatever the user's matplotlibrc says, for a moment."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def _compose(plan: _Plan, numbers: pd.DataFrame, notice: str) -> Figure:
    """Stack title, legend, panels and foot; the page grows with each, so nothing overlaps."""
    panels = _panels(plan, numbers)
    rows, columns = len(panels), len(panels[0])
    width, height = columns * _PANEL[columns][0] + 0.2, rows * _PANEL[columns][1]
    legend = _legend(numbers)
    foot = _foot(numbers, notice, int(width * _PER_INCH))
    above, below = _TITLE + _LEGEND * len(legend) + 0.06, _FOOT * len(foot) + 0.14
    total = above + height + below
    figure = Figure(figsize=(width, total))
    room = (0, below / total, 1, height / total)
    figure.set_layout_engine("constrained", rect=room, w_pad=0.08, h_pad=0.06)
    _write(figure, plan.title, legend, foot)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for place, panel in zip(axes.flat, [cell for row in panels for cell in row], strict=True):
        _panel(place, plan, panel, tables.scales(numbers["n"]))
    if len(numbers):
        _finish(axes, plan, panels)
    return figure


def _panels(plan: _Plan, numbers: pd.DataFrame) -> list[list[_Cell]]:
    """Return the grid of (title, numbers): models by test sets, or models in rows of up to three."""
    models = list(dict.fromkeys(numbers["Model"]))
    if not models:
        return [[("", numbers)]]
    if plan.by_test_set:
        names = {"ID test": "in-domain (ID)", "OOD test": "out-of-domain (OOD)"}
        return [
            [(f"{m}, {text}", numbers[(numbers["Model"] == m) & (numbers["Test set"] == split)])
             for split, text in names.items()]
            for m in models
        ]  # fmt: skip
    columns = min(3, len(models))
    cells: list[_Cell] = [(m, numbers[numbers["Model"] == m]) for m in models]
    cells += [None] * (-len(cells) % columns)
    return [cells[i : i + columns] for i in range(0, len(cells), columns)]


def _panel(axes: Axes, plan: _Plan, panel: _Cell, scales: list[str]) -> None:
    """Draw the lines of one panel over a categorical axis, with the base model as horizontal references."""
    if panel is None or panel[1].empty:
        axes.set_axis_off()
        text = "" if panel is None else "No results yet"
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=_GREY)
        return
    title, numbers = panel
    scales = [scale for scale in scales if scale != "0"]
    axes.set_title(title, loc="left")
    axes.set(xlabel="Training examples (n)", ylabel=plan.axis)
    for trained, rows in numbers.groupby("Trained on", sort=False):
        if trained in _REFERENCES:
            axes.axhline(rows[plan.value].iloc[0], color=_GREY, lw=1.2, ls=_REFERENCES[str(trained)])
        else:
            _line(axes, str(trained), rows.set_index("n").reindex(scales).reset_index(), plan.value)
    axes.set_xticks(range(len(scales)), ["All" if scale == "all" else scale for scale in scales])
    axes.set_xlim(-0.08 * len(scales), len(scales) - 1 + 0.12 * len(scales))


def _finish(axes: np.ndarray, plan: _Plan, panels: list[list[_Cell]]) -> None:
    """Bound the shared axis by what the unit can be, then name the lines at their right ends."""
    low, high = axes[0, 0].get_ylim()
    high = min(high, 102.0) if plan.value == tables.ACCURACY else high
    axes[0, 0].set_ylim(max(0.0, low), high)
    for place, panel in zip(axes.flat, [cell for row in panels for cell in row], strict=True):
        if panel is not None and len(panel[1]):
            _name_lines(place, 0.05 * (high - max(0.0, low)))
            place.label_outer()


def _name_lines(axes: Axes, apart: float) -> None:
    """Write each line's name beside its last point; names less than `apart` from each other make room."""
    named = [line for line in axes.lines if not str(line.get_label()).startswith("_")]
    ends = [(float(np.asarray(line.get_ydata())[-1]), line) for line in named]
    ends = sorted((end for end in ends if not np.isnan(end[0])), key=lambda end: end[0])
    heights = _spread_out([y for y, _ in ends], apart)
    right = round(axes.get_xticks()[-1])
    for height, (_, line) in zip(heights, ends, strict=True):
        axes.annotate(str(line.get_label()), (right, height), (6, 0), textcoords="offset points",
                      size=8, va="center", color=line.get_color(), annotation_clip=False)  # fmt: skip


def _spread_out(heights: list[float], apart: float) -> list[float]:
    """Return sorted heights moved as little as needed for neighbours to be about `apart` from each other."""
    heights = list(heights)
    for _ in range(60):
        for i in range(len(heights) - 1):
            lack = max(0.0, apart - (heights[i + 1] - heights[i]))
            heights[i], heights[i + 1] = heights[i] - lack / 2, heights[i + 1] + lack / 2
    return heights


def _line(axes: Axes, trained: str, rows: pd.DataFrame, value: str) -> None:
    """Draw one training set: line, band of one SD either side, hollow where the set is smaller than n."""
    colour, marker = _SERIES.get(trained, _OTHER)
    mean, sd = rows[value].to_numpy(), rows[f"{value} SD"].to_numpy()
    x = range(len(rows))
    axes.fill_between(x, mean - sd, mean + sd, color=colour, alpha=0.16, linewidth=0)
    alone = pd.Series(sd).notna() & pd.Series(sd).shift().isna() & pd.Series(sd).shift(-1).isna()
    for i in alone[alone].index:  # A band needs two neighbouring points; a point between gaps gets a bar.
        axes.errorbar(i, mean[i], sd[i], color=colour, elinewidth=1, capsize=2.5)
    small = tables.smaller_sets(rows).to_numpy(dtype=bool)
    axes.plot(x, mean, color=colour, marker=marker, label=trained, **_EDGE)
    hollow: dict[str, Any] = {"color": colour, "markerfacecolor": "white", "markeredgewidth": 1.3}
    axes.plot([i for i in x if small[i]], mean[small], marker, **hollow)


def _legend(numbers: pd.DataFrame) -> list[list[Line2D]]:
    """Return the lines of the legend: the training sets, then the references, where there are any."""
    trained: list[Line2D] = []
    references: list[Line2D] = []
    for name in dict.fromkeys(numbers["Trained on"]):
        if name in _REFERENCES:
            references.append(Line2D([], [], color=_GREY, lw=1.2, ls=_REFERENCES[name], label=name))
        else:
            colour, marker = _SERIES.get(name, _OTHER)
            trained.append(Line2D([], [], color=colour, marker=marker, label=name, **_EDGE))
    if trained:
        trained.insert(0, Line2D([], [], linestyle="none", label="Trained on"))
    return [line for line in (trained, references) if line]


def _foot(numbers: pd.DataFrame, notice: str, characters: int) -> list[str]:
    """Return the lines under the panels: what the band is, what a hollow marker is, then the notice."""
    spread = tables.seeds_note(numbers)
    notes = [f"Band: {spread[0].lower()}{spread[1:]}" if spread.startswith("Mean") else spread]
    if tables.smaller_sets(numbers).any():
        notes.append("Hollow marker: fewer than n facts to train on; all were used.")
    return [line for text in (" ".join(notes), notice) for line in textwrap.wrap(text, characters)]


def _write(figure: Figure, title: str, legend: list[list[Line2D]], foot: list[str]) -> None:
    """Place title, legend and foot at fixed distances from the edges, outside the automatic layout."""
    width, total = figure.get_size_inches()
    left = 0.1 / width
    words: list[Artist] = [figure.text(left, 1 - 0.1 / total, title, size=11, weight="bold", va="top")]
    for i, handles in enumerate(legend):
        # The entry that only says "Trained on" has no line to show: its empty handle lies left of the page.
        start = -0.29 if handles[0].get_linestyle() == "None" else 0.1
        corner = (start / width, 1 - (_TITLE + _LEGEND * i) / total)
        words.append(figure.legend(handles=handles, ncols=len(handles), loc="upper left",
                                   bbox_to_anchor=corner, frameon=False, borderaxespad=0, borderpad=0,
                                   columnspacing=1.2, handlelength=2.3))  # fmt: skip
    for i, line in enumerate(reversed(foot)):
        y = (0.08 + _FOOT * i) / total
        words.append(figure.text(left, y, line, size=7.5, color="#333333", va="bottom"))
    for word in words:
        word.set_in_layout(False)
