"""The trade-off as one figure: what each setting changes of the task, and what it gains in knowledge."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sftlens.reporting import style

_NARROWEST = 2.0
"""Points that the horizontal axis reaches to either side at least."""


def draw(trade_off: pd.DataFrame, half: str, tolerance: float, task: str) -> Figure:
    """Return the figure of one half: a point for each setting, the fine-tuned model in the origin.

    Args:
        trade_off: the table of `numbers.trade_off`.
        half: the half that is drawn; intervals are paired with the fine-tuned model.
        tolerance: what the task's score may cost, a share.
        task: what the horizontal axis measures.
    """
    table = trade_off[(trade_off["half"] == half) & trade_off["criterion"].isin(list(style.LOOKS))]
    with style.applied():
        figure = Figure(figsize=(6.4, 4.6), layout="constrained")
        axes = figure.add_subplot()
        axes.grid(visible=False)
        axes.axhline(0, color="#bbbbbb", linewidth=0.8)
        axes.axvline(0, color="#bbbbbb", linewidth=0.8)
        axes.plot(0, 0, "*", color="black", markersize=13, zorder=6, label="fine-tuned model, left alone")
        for criterion, part in table.groupby("criterion", sort=False):
            _line(axes, str(criterion), part.sort_values("ratio"))
        for _, row in table[table["chosen"]].iterrows():
            axes.plot(100 * row["change"], 100 * row["gain"], "o", markersize=17, markerfacecolor="none",
                      markeredgecolor=style.CHOSEN, markeredgewidth=1.6, zorder=7, label="chosen")  # fmt: skip
        _forbidden(axes, tolerance)
        axes.set_xlabel(f"Change of {task} (points)")
        axes.set_ylabel("Gain in facts answered (points)")
        axes.set_title(f"{half} half", loc="left")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def _line(axes: Axes, criterion: str, part: pd.DataFrame) -> None:
    colour, marker = style.look(criterion)
    x, y = 100 * part["change"], 100 * part["gain"]
    axes.plot([0, *x], [0, *y], color=colour, linewidth=1, alpha=0.45, zorder=2)
    errors: dict[str, Any] = {
        name: [100 * (part[value] - part[f"{value}_low"]), 100 * (part[f"{value}_high"] - part[value])]
        for name, value in (("xerr", "change"), ("yerr", "gain"))
    }
    axes.errorbar(x, y, **errors, fmt="none", ecolor=colour, elinewidth=0.9, alpha=0.3, zorder=3)
    axes.plot(x, y, marker, color=colour, markeredgecolor="white", markersize=7, zorder=5, label=criterion)
    for _, row in part.iterrows():
        place = (100 * row["change"], 100 * row["gain"])
        axes.annotate(
            f"{row['ratio']:g} %", place, (6, 5), textcoords="offset points", fontsize=7, color=style.ink(colour)
        )


def _forbidden(axes: Axes, tolerance: float) -> None:
    """Shade where the task's score itself costs more than the tolerance, as far as that is in view."""
    left, right = axes.get_xlim()
    left, right = min(left, -_NARROWEST), max(right, _NARROWEST)
    limit = -100 * tolerance
    if left < limit:
        axes.axvspan(
            left, min(limit, right), color=style.FORBIDDEN, alpha=0.12, linewidth=0, label="beyond the tolerance"
        )
    axes.set_xlim(left, right)
