"""Numbers against the number of training examples, the form of the paper's Figures 2, 4, 5 and 6."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from sftlens.paper import models
from sftlens.reporting import frames, style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE = {1: (5.4, 3.3), 2: (3.3, 2.9), 3: (2.6, 2.8)}
"""Panels in a row -> inches of each."""
_REFERENCES: dict[str, Any] = {
    frames.BASE: {"color": style.GREY, "lw": 1.2, "ls": (0, (5, 3))},
    frames.FEWSHOT: {"color": style.GREY, "lw": 1.2, "ls": (0, (1, 1.6))},
}
_TITLES = {"ID test": "in-domain (ID)", "OOD test": "out-of-domain (OOD)"}
PRINTED = "As printed"
"""Column of what the paper prints for the same point, in the figures that show both; its `SD` is beside it."""
_THIN: dict[str, Any] = {"lw": 1.0, "ls": (0, (3, 1.2)), "alpha": 0.75}


def against_n(
    results: pd.DataFrame, stage: str, metric: str, bucket: str, splits: Collection[str], unit: str
) -> pd.DataFrame:
    """Return a metric of one bucket against n: one row per model, test set, training set and n, over seeds."""
    rows = frames.selected(results, stage, metric)
    rows = frames.named(rows[(rows["bucket"] == bucket) & rows["split"].isin(splits)])
    factor = 1.0 if unit == frames.KL else 100.0
    keys = ["Model", "Test set", "Trained on", "n"]
    return frames.with_examples(frames.spread(rows.assign(value=rows["value"] * factor), keys, unit), results)


def beside_the_paper(numbers: pd.DataFrame, figure: str) -> pd.DataFrame:
    """Return a frame of `against_n` with what the paper prints for the same point; models that it has, and no others.

    `figure` is one of Fig2, Fig4, Fig5 and Fig6. Points that it prints and the study lacks have rows without a value.
    """
    import pandas as pd

    from sftlens.paper import printed

    points = printed.curves() if figure in ("Fig2", "Fig6") else printed.point_curves(figure)
    points = points.assign(**{"Test set": points["split"].map(frames.SPLITS) if "split" in points else "ID test"})
    columns = {"train_set": "Trained on", "scale": "n", "value": PRINTED, "sd": f"{PRINTED} SD"}
    points = points.rename(columns=columns)
    keys = ["Model", "Test set", "Trained on", "n"]
    found = [numbers.iloc[:0].assign(**{PRINTED: 0.0, f"{PRINTED} SD": 0.0})]
    for model in dict.fromkeys(numbers["Model"]):
        if name := models.published(model):
            own = points[points["model"] == name] if "model" in points else points[[name == "LLaMA-3-8B"] * len(points)]
            own = own.assign(Model=model)[[*keys, PRINTED, f"{PRINTED} SD"]]
            both = numbers[numbers["Model"] == model].merge(own, how="outer", on=keys)
            found.append(frames.in_order(both, keys, numbers))
    return pd.concat(found[1:] or found, ignore_index=True)


def draw(
    numbers: pd.DataFrame, notice: str, unit: str, axis: str, columns: str = "", rows: Sequence[str] = ("Model",)
) -> Figure:
    """Return a figure of `against_n`: a row of panels for each of `rows`, a panel for each value of `columns`.

    Without `columns` the models stand in rows of up to three. Lines are training sets over a categorical axis, which
    begins with n = 0, the base model; a band is one SD either side, and of fewer than three seeds each is a dot. A
    marker is hollow where the training set has fewer facts than n. What the paper prints is thin and dashed.
    """
    names = list(dict.fromkeys(numbers[columns])) if columns else []
    panels: list[tuple[list[Any], pd.DataFrame]] = []
    for key, part in numbers.groupby(list(rows), sort=False):
        if columns:
            panels += [([*key, name], part[part[columns] == name]) for name in names]
        else:
            panels.append(([*key], part))
    panels = panels or [([], numbers)]
    wide = len(names) or min(3 if len(panels) != 4 else 2, len(panels))
    sets = list(dict.fromkeys(numbers["Trained on"]))
    trained_on = [style.key(name) for name in sets if name not in _REFERENCES]
    for first in trained_on[:1]:
        first.set_label(f"Trained on {first.get_label()}")
    references = [style.key(name, **_REFERENCES[name]) for name in sets if name in _REFERENCES]
    if PRINTED in numbers:
        references.append(style.key("as the paper prints it", color=style.GREY, **_THIN))
    figure, grid = style.page(
        -(-len(panels) // wide), wide, _SIZE[wide], legend=[line for line in (trained_on, references) if line],
        foot=[_notes(numbers, unit), notice], sharex=True, sharey="row",
    )  # fmt: skip
    scales = [scale for scale in frames.scales(numbers["n"]) if scale != "0"]
    start = -1 if frames.BASE in sets else 0
    for axes, (words, part) in zip(grid.flat, panels, strict=False):
        if part.empty:
            style.nothing(axes)
            continue
        title = ", ".join(_TITLES.get(word, word) for word in words)
        axes.set_title(textwrap.fill(title, int(12 * _SIZE[wide][0])), loc="left")
        axes.set(xlabel="Training examples (n)", ylabel=axis)
        lines = {str(name): line.set_index("n") for name, line in part.groupby("Trained on", sort=False)}
        for name in [name for name in lines if name in _REFERENCES]:
            axes.axhline(lines[name][unit].iloc[0], **_REFERENCES[name])
        base = float(lines[frames.BASE][unit].iloc[0]) if frames.BASE in lines else float("nan")
        for name in [name for name in lines if name not in _REFERENCES]:
            _line(axes, name, lines[name].reindex(scales).reset_index(), unit, base)
        if base == base:
            axes.plot([-1], [base], "o", color=style.GREY, markerfacecolor="white", markeredgewidth=1.2)
        ticks = ["0"] * -start + ["All" if scale == "all" else scale for scale in scales]
        axes.set_xticks(range(start, len(scales)), ticks)
        axes.set_xlim(start - 0.06 * len(ticks), len(scales) - 1 + 0.14 * len(ticks))
    for axes in list(grid.flat)[len(panels) :]:
        style.nothing(axes, "")
    # The axis of a row ends where its unit does; only then is it known how far names must be apart.
    for row in grid:
        low, high = row[0].get_ylim()
        high = high if unit == frames.KL else min(high, 102.0)
        row[0].set_ylim(max(0.0, low), high)
        for axes in [axes for axes in row if axes.axison]:
            _name_lines(axes, 0.055 * (high - max(0.0, low)))
            axes.label_outer()
    return figure


def _notes(numbers: pd.DataFrame, unit: str) -> str:
    notes = [style.spread_note(numbers), frames.gaps(numbers, unit)]
    if frames.smaller_sets(numbers).any():
        notes.append("Hollow marker: fewer than n facts to train on; all were used.")
    return " ".join(filter(None, notes))


def _line(axes: Axes, trained: str, rows: pd.DataFrame, unit: str, base: float) -> None:
    """Draw one training set: line, its way from the base, band or dots, hollow where the set is smaller than n."""
    colour, marker = style.look(trained)
    mean, x = rows[unit].to_numpy(), range(len(rows))
    if PRINTED in rows:
        axes.plot(x, rows[PRINTED], color=colour, zorder=1.5, **_THIN)
    measured = [i for i in x if mean[i] == mean[i]]
    if measured:
        axes.plot([-1, measured[0]], [base, mean[measured[0]]], color=colour, lw=0.8, alpha=0.45, zorder=1.8)
    style.spread(axes, x, rows, unit, colour)
    small = frames.smaller_sets(rows).to_numpy(dtype=bool)
    axes.plot(x, mean, color=colour, marker=marker, label=trained, **style.EDGE)
    hollow: dict[str, Any] = {"color": colour, "markerfacecolor": "white", "markeredgewidth": 1.3}
    if small.any():
        axes.plot([i for i in x if small[i]], mean[small], marker, **hollow)


def _name_lines(axes: Axes, apart: float) -> None:
    """Write each line's name beside its last point; names less than `apart` from each other make room."""
    named = [line for line in axes.lines if not str(line.get_label()).startswith("_")]
    ends = [(float(line.get_ydata()[-1]), line) for line in named]  # type: ignore[index, arg-type]
    ends = sorted((end for end in ends if end[0] == end[0]), key=lambda end: end[0])
    right = round(axes.get_xticks()[-1])
    heights, top = spread_out([y for y, _ in ends], apart), axes.get_ylim()[1]
    for i in reversed(range(len(heights))):  # Names at the upper end go down, not into the title.
        heights[i] = min(heights[i], top)
        top = heights[i] - apart
    for height, (_, line) in zip(heights, ends, strict=True):
        place: dict[str, Any] = {"textcoords": "offset points", "va": "center", "annotation_clip": False}
        axes.annotate(
            str(line.get_label()), (right, height), (5, 0), size=8, color=style.ink(str(line.get_color())), **place
        )


def spread_out(heights: list[float], apart: float) -> list[float]:
    """Return sorted heights moved as little as needed for neighbours to be about `apart` from each other."""
    heights = list(heights)
    for _ in range(60):
        for i in range(len(heights) - 1):
            lack = max(0.0, apart - (heights[i + 1] - heights[i]))
            heights[i], heights[i + 1] = heights[i] - lack / 2, heights[i + 1] + lack / 2
    return heights
