"""The figure of mastery against exposure: one panel a model, one line a split."""

import textwrap
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sftlens.reporting.mastery import MASTERY

TITLE = "Mastery against exposure"
WIDTH, HEIGHT, PER_INCH = 4.6, 3.5, 16
_SERIES = {"Train": ("#0d0887", "o"), "ID test": ("#cc4778", "D"), "OOD test": ("#cfa000", "X")}
_OTHER = ("#2b2b2b", "v")
_WORDS: dict[str, Any] = {"x": 0.01, "ha": "left"}


def compose(numbers: pd.DataFrame, notice: str) -> Figure:
    """Return the figure of `tables.build("exposure", ...)`; without numbers, it says so."""
    models = list(dict.fromkeys(numbers["Model"])) or [""]
    width = WIDTH * len(models)
    foot = textwrap.wrap(f"Bars: 95 % interval of the mean over facts. {notice}", int(width * PER_INCH))
    figure = Figure(figsize=(width, HEIGHT + 0.16 * len(foot)), layout="constrained")
    figure.suptitle(TITLE, size=11, weight="bold", **_WORDS)
    figure.supxlabel("\n".join(foot), size=7.5, color="#333333", **_WORDS)
    panels = figure.subplots(1, len(models), squeeze=False, sharey=True)[0]
    for axes, model in zip(panels, models, strict=True):
        _panel(axes, model, numbers[numbers["Model"] == model])
    return figure


def _panel(axes: Axes, model: str, numbers: pd.DataFrame) -> None:
    if numbers.empty:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "No results yet", transform=axes.transAxes, ha="center", va="center", color="#6e6e6e")
        return
    bins = sorted(set(numbers["Exposure"]), key=lambda name: int(name.split("-")[0]))
    axes.set_title(model, loc="left")
    axes.set(xlabel="Statements of the fact in the corpus", ylabel="Mean mastery R (%)", ylim=(0, 102))
    axes.set_xticks(range(len(bins)), bins)
    for number, (split, rows) in enumerate(numbers.groupby("Split", sort=False)):
        colour, marker = _SERIES.get(str(split), _OTHER)
        places = [bins.index(name) + 0.08 * (number - 1) for name in rows["Exposure"]]
        ends = [rows[MASTERY] - rows["Low"], rows["High"] - rows[MASTERY]]
        label = f"{split} (Spearman {rows['Spearman'].iloc[0]:.2f})"
        axes.errorbar(places, rows[MASTERY], ends, color=colour, marker=marker, elinewidth=1, capsize=2, label=label)
    axes.legend(frameon=False, loc="upper left", fontsize=8)
