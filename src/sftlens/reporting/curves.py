"""Numbers against the number of training examples, the form of the paper's Figures 2, 4, 5 and 6."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from sftlens.reporting import frames, style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE = {1: (5.4, 3.3), 2: (3.7, 3.0), 3: (3.1, 2.7)}
"""Panels in a row -> inches of each."""
_REFERENCES: dict[str, Any] = {
    frames.BASE: {"color": style.GREY, "lw": 1.2, "ls": (0, (5, 3))},
    frames.FEWSHOT: {"color": style.GREY, "lw": 1.2, "ls": (0, (1, 1.6))},
}
_TEST_SETS = {"ID test": "in-domain (ID)", "OOD test": "out-of-domain (OOD)"}


def against_n(
    results: pd.DataFrame, stage: str, metric: str, bucket: str, splits: Collection[str], unit: str
) -> pd.DataFrame:
    """Return a metric of one bucket against n: one row per model, test set, training set and n, over seeds."""
    rows = frames.selected(results, stage, metric)
    rows = frames.named(rows[(rows["bucket"] == bucket) & rows["split"].isin(splits)])
    factor = 100.0 if unit == frames.ACCURACY else 1.0
    keys = ["Model", "Test set", "Trained on", "n"]
    return frames.with_examples(frames.spread(rows.assign(value=rows["value"] * factor), keys, unit), results)


def draw(numbers: pd.DataFrame, notice: str, unit: str, axis: str, by_test_set: bool = False) -> Figure:
    """Return a figure of `against_n`: panels are models by test sets, or models in rows of up to three.

    Lines are training sets over a categorical axis, with a band of one SD either side; the base model is a horizontal
    reference. A marker is hollow where the training set has fewer facts than n.
    """
    models = list(dict.fromkeys(numbers["Model"]))
    panels = [(model, numbers[numbers["Model"] == model]) for model in models] or [("", numbers)]
    columns = min(3, len(panels))
    if by_test_set and models:
        columns = len(_TEST_SETS)
        panels = [
            (f"{model}, {text}", rows[rows["Test set"] == split])
            for model, rows in panels
            for split, text in _TEST_SETS.items()
        ]
    seeds = frames.seeds_note(numbers)
    notes = f"Band: {seeds[0].lower()}{seeds[1:]}" if seeds.startswith("Mean") else seeds
    if frames.smaller_sets(numbers).any():
        notes += " Hollow marker: fewer than n facts to train on; all were used."
    # The training sets, then the references, where there are any.
    names = list(dict.fromkeys(numbers["Trained on"]))
    trained_on = [style.key(name) for name in names if name not in _REFERENCES]
    for first in trained_on[:1]:
        first.set_label(f"Trained on {first.get_label()}")
    references = [style.key(name, **_REFERENCES[name]) for name in names if name in _REFERENCES]
    figure, grid = style.page(
        -(-len(panels) // columns), columns, _SIZE[columns],
        legend=[line for line in (trained_on, references) if line], foot=[notes, notice], sharex=True, sharey=True,
    )  # fmt: skip
    scales = [scale for scale in frames.scales(numbers["n"]) if scale != "0"]
    for axes, (title, rows) in zip(grid.flat, panels, strict=False):
        if rows.empty:
            style.nothing(axes)
            continue
        axes.set_title(title, loc="left")
        axes.set(xlabel="Training examples (n)", ylabel=axis)
        for trained, line in rows.groupby("Trained on", sort=False):
            if trained in _REFERENCES:
                axes.axhline(line[unit].iloc[0], **_REFERENCES[str(trained)])
            else:
                _line(axes, str(trained), line.set_index("n").reindex(scales).reset_index(), unit)
        axes.set_xticks(range(len(scales)), ["All" if scale == "all" else scale for scale in scales])
        axes.set_xlim(-0.08 * len(scales), len(scales) - 1 + 0.12 * len(scales))
    for axes in list(grid.flat)[len(panels) :]:
        style.nothing(axes, "")
    # The shared axis ends where its unit does; only then is it known how far names must be apart.
    low, high = grid[0, 0].get_ylim()
    high = min(high, 102.0) if unit == frames.ACCURACY else high
    grid[0, 0].set_ylim(max(0.0, low), high)
    for axes in grid.flat:
        if axes.axison:
            _name_lines(axes, 0.05 * (high - max(0.0, low)))
            axes.label_outer()
    return figure


def _line(axes: Axes, trained: str, rows: pd.DataFrame, unit: str) -> None:
    """Draw one training set: line, band of one SD either side, hollow where the set is smaller than n."""
    colour, marker = style.look(trained)
    mean, sd = rows[unit].to_numpy(), rows[f"{unit} SD"]
    x = range(len(rows))
    axes.fill_between(x, mean - sd, mean + sd, color=colour, alpha=0.16, linewidth=0)
    alone = sd.notna() & sd.shift().isna() & sd.shift(-1).isna()
    for i in alone[alone].index:  # A band needs two neighbouring points; a point between gaps gets a bar.
        axes.errorbar(i, mean[i], sd[i], color=colour, elinewidth=1, capsize=2.5)
    small = frames.smaller_sets(rows).to_numpy(dtype=bool)
    axes.plot(x, mean, color=colour, marker=marker, label=trained, **style.EDGE)
    hollow: dict[str, Any] = {"color": colour, "markerfacecolor": "white", "markeredgewidth": 1.3}
    axes.plot([i for i in x if small[i]], mean[small], marker, **hollow)


def _name_lines(axes: Axes, apart: float) -> None:
    """Write each line's name beside its last point; names less than `apart` from each other make room."""
    ends = [(float(line.get_ydata()[-1]), line) for line in axes.lines if not str(line.get_label()).startswith("_")]  # type: ignore[index, arg-type]
    ends = sorted((end for end in ends if end[0] == end[0]), key=lambda end: end[0])
    right = round(axes.get_xticks()[-1])
    for height, (_, line) in zip(spread_out([y for y, _ in ends], apart), ends, strict=True):
        place: dict[str, Any] = {"textcoords": "offset points", "va": "center", "annotation_clip": False}
        axes.annotate(
            str(line.get_label()), (right, height), (6, 0), size=8, color=style.ink(str(line.get_color())), **place
        )


def spread_out(heights: list[float], apart: float) -> list[float]:
    """Return sorted heights moved as little as needed for neighbours to be about `apart` from each other."""
    heights = list(heights)
    for _ in range(60):
        for i in range(len(heights) - 1):
            lack = max(0.0, apart - (heights[i + 1] - heights[i]))
            heights[i], heights[i + 1] = heights[i] - lack / 2, heights[i + 1] + lack / 2
    return heights
