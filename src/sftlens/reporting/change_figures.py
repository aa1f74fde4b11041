"""The figures of what fine-tuning changed and what restoring reverts; drawn from the frames of change_tables."""

import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sftlens.reporting import tables
from sftlens.reporting.change_tables import REVERTED, SUMS, WEIGHTS

CRITERIA = {
    "relative": ("#0d0887", "o"),
    "absolute": ("#cc4778", "D"),
    "random": ("#6e6e6e", "s"),
    "smallest": ("#ee7b51", "^"),
    "bottom": ("#7e03a8", "v"),
    "interpolation": ("#cfa000", "X"),
}
SETS = {"D0": "#0d0887", "D1": "#7e03a8", "D2": "#cc4778", "D3": "#ee7b51", "D4": "#cfa000"}
PARAMETERS = "Parameters (%)"
MAPS = {"Restored part (%)": "first 20 %", "Sum of d^2 (%)": "sum of d²"}
_GREY = "#6e6e6e"
_PER_INCH = 16
_EDGE: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 0.5, "markersize": 5}


def restoration(numbers: pd.DataFrame, notice: str) -> Figure:
    """Return accuracy against k and against the reverted share of d^2: columns are training sets, lines criteria."""
    groups = [g for _, g in numbers.groupby(["Model", "Region", "n", "Test set"], sort=False)]
    sets = list(dict.fromkeys(numbers["Trained on"])) or [""]
    title = "Accuracy after restoring parameters"
    page = Page(title, 2 * max(1, len(groups)), len(sets), (2.1, 1.9), tables.seeds_note(numbers), notice)
    if not groups:
        return page.empty()
    for place, group in enumerate(groups):
        rows = page.axes[2 * place : 2 * place + 2]
        for column, trained in enumerate(sets):
            own = group[group["Trained on"] == trained]
            _curves(rows[0][column], own, "Restored (%)", "k (% of elements)")
            _curves(rows[1][column], own, REVERTED["reverted_d2"], "reverted of Σ d² (%)")
            rows[0][column].set_title(trained, loc="left")
        first = group.iloc[0]
        rows[0][0].set_ylabel(f"{first['Model']}, n = {first['n']}\n{first['Test set']}, {first['Region']}")
        rows[1][0].set_ylabel(tables.ACCURACY)
    lines = [_key(name, *CRITERIA.get(name, (_GREY, "P"))) for name in CRITERIA if (numbers["Criterion"] == name).any()]
    return page.done(lines)


def _curves(axes: Axes, numbers: pd.DataFrame, x: str, label: str) -> None:
    for criterion, rows in numbers.groupby("Criterion", sort=False):
        colour, marker = CRITERIA.get(str(criterion), (_GREY, "P"))
        rows = rows.assign(x=rows[x].astype("float64")).sort_values("x", kind="stable").dropna(subset=["x"])
        mean, sd = rows[tables.ACCURACY], rows[f"{tables.ACCURACY} SD"]
        axes.fill_between(rows["x"], mean - sd, mean + sd, color=colour, alpha=0.14, linewidth=0)
        axes.plot(rows["x"], mean, color=colour, marker=marker, label=str(criterion), **_EDGE)
    axes.set_xlabel(label)


def concentration(numbers: pd.DataFrame, notice: str) -> Figure:
    """Return the share of each sum held by the top k %, one line a training set, solid as trained, dashed permuted."""
    groups = [g for _, g in numbers.groupby(["Model", "Criterion", "Region", "n"], sort=False)]
    kinds = list(SUMS.values())
    title = "How concentrated the change is"
    page = Page(title, max(1, len(groups)), len(kinds), (3.1, 2.7), tables.seeds_note(numbers), notice)
    tops = [name for name in numbers if name.startswith("Top ") and name.endswith("%")]
    if not groups or not tops:
        return page.empty()
    for axes_of, group in zip(page.axes, groups, strict=True):
        first = group.iloc[0]
        for axes, kind in zip(axes_of, kinds, strict=True):
            _shares(axes, group[group["Sum of"] == kind], tops)
            axes.set_title(f"Σ {kind.replace('^2', '²')}, {first['Model']}, n = {first['n']}", loc="left")
        axes_of[0].set_ylabel("Share of the total (%)")
    lines = [Line2D([], [], color=SETS.get(s, _GREY), label=s) for s in dict.fromkeys(numbers["Trained on"])]
    styles = zip(WEIGHTS.values(), ("-", "--"), strict=True)
    return page.done([*lines, *(Line2D([], [], color=_GREY, ls=style, label=text) for text, style in styles)])


def _shares(axes: Axes, numbers: pd.DataFrame, tops: list[str]) -> None:
    x = [float(name.split()[1]) for name in tops]
    for _, row in numbers.iterrows():
        dashed = row["Changes"] != WEIGHTS[""]
        colour = SETS.get(row["Trained on"], _GREY)
        axes.plot(x, row[tops].astype("float64"), color=colour, ls="--" if dashed else "-", marker=".", lw=1.1)
    axes.set(xscale="log", xlabel=f"Top k % by {numbers['Criterion'].iloc[0]}" if len(numbers) else "", ylim=(0, 102))
    axes.set_xticks(x, [f"{value:g}" for value in x])
    axes.minorticks_off()


def heatmap(numbers: pd.DataFrame, notice: str) -> Figure:
    """Return maps of layer by module: shares of the restored part and of the sum of d^2 by shares of parameters."""
    groups = [g for _, g in numbers.groupby(["Model", "Criterion", "Region", "n"], sort=False)]
    sets = list(dict.fromkeys(numbers["Trained on"])) or [""]
    layers = numbers["Layer"].nunique() if groups else 1
    size = (1.9, min(6.0, 1.4 + 0.16 * layers))
    rows = max(1, len(MAPS) * len(groups))
    page = Page("Where the change lies", rows, len(sets), size, tables.seeds_note(numbers), notice)
    if not groups:
        return page.empty()
    ratio = {
        name: np.log2((numbers[name] / numbers[PARAMETERS]).astype("float64").where(lambda v: v > 0)) for name in MAPS
    }
    ends = max([1e-9, *(float(values.abs().max()) for values in ratio.values() if values.notna().any())])
    for place, (group, name) in enumerate((g, n) for g in groups for n in MAPS):
        for column, trained in enumerate(sets):
            own = group[group["Trained on"] == trained]
            image = _map(page.axes[place][column], own, ratio[name], ends)
            page.axes[place][column].set_title(f"{trained}, n = {group['n'].iloc[0]}", loc="left")
        page.axes[place][0].set_ylabel(f"{MAPS[name]}\nlayer")
    page.figure.colorbar(image, ax=page.axes, shrink=0.8, label="log₂ (share / share of parameters)")
    return page.done([])


def _map(axes: Axes, numbers: pd.DataFrame, values: pd.Series, ends: float) -> Any:
    grid = numbers.assign(value=values).pivot_table("value", "Layer", "Module", sort=False, dropna=False)
    image = axes.imshow(grid.to_numpy(), cmap="RdBu_r", vmin=-ends, vmax=ends, aspect="auto", interpolation="nearest")
    axes.grid(visible=False)
    axes.set_xticks(range(len(grid.columns)), list(grid.columns), rotation=90)
    step = max(1, len(grid) // 8)
    axes.set_yticks(range(0, len(grid), step), list(grid.index)[::step])
    return image


class Page:
    """A figure under construction: title and legend, panels, foot."""

    def __init__(self, title: str, rows: int, columns: int, size: tuple[float, float], note: str, notice: str) -> None:
        """Make room for panels of `size` inches."""
        width, above = max(4.6, columns * size[0] + 0.6), 0.62
        foot = [line for text in (note, notice) for line in textwrap.wrap(text, int(width * _PER_INCH))]
        below = 0.12 + 0.155 * len(foot)
        total = above + rows * size[1] + below
        self.figure = Figure(figsize=(width, total))
        self.figure.set_layout_engine("constrained", rect=(0, below / total, 1, 1 - (above + below) / total))
        self._left, self._under_title = 0.1 / width, 1 - 0.33 / total
        words = [self.figure.text(self._left, 1 - 0.1 / total, title, size=11, weight="bold", va="top")]
        text = "\n".join(foot)
        words.append(self.figure.text(self._left, 0.06 / total, text, size=7.5, color="#333333", va="bottom"))
        for word in words:
            word.set_in_layout(False)
        self.axes = self.figure.subplots(rows, columns, squeeze=False, sharey="row")

    def empty(self) -> Figure:
        """Return the figure without numbers, which says so."""
        for axes in self.axes.flat:
            axes.set_axis_off()
        self.axes[0, 0].text(0.5, 0.5, "No results yet", ha="center", va="center", color=_GREY)
        return self.figure

    def done(self, lines: list[Line2D]) -> Figure:
        """Return the figure with its legend."""
        if lines:
            corner = (self._left, self._under_title)
            legend = self.figure.legend(
                handles=lines, ncols=len(lines), loc="upper left", bbox_to_anchor=corner, frameon=False,
                borderaxespad=0, borderpad=0, columnspacing=0.9, handlelength=1.5, handletextpad=0.4, fontsize=8,
            )  # fmt: skip
            legend.set_in_layout(False)
        return self.figure


def _key(name: str, colour: str, marker: str) -> Line2D:
    return Line2D([], [], color=colour, marker=marker, label=name, **_EDGE)


COMPOSE: dict[str, Callable[[pd.DataFrame, str], Figure]] = {
    "restoration": restoration,
    "concentration": concentration,
    "heatmap": heatmap,
}
