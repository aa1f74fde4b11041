"""Tables of differences as pictures: tinted only where the interval excludes zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

TINT = "Tinted only where the 95 % interval excludes zero: blue is a gain, red a loss."
NOTE = f"{TINT} Small print: the interval."


def ends(numbers: pd.DataFrame, value: str) -> float:
    """Return the largest difference whose interval excludes zero, the end of the colours; at least one point."""
    sure = numbers[(numbers["Low"] > 0) | (numbers["High"] < 0)]
    return max(1.0, float(sure[value].abs().max())) if len(sure) else 1.0


def draw(
    axes: Axes, numbers: pd.DataFrame, rows: str, columns: str, value: str, end: float, best: bool = False
) -> None:
    """Draw a cell for each row and column of a frame: the difference, `Low` and `High` below it.

    `best` outlines the largest value of each column.
    """
    import numpy as np
    from matplotlib.patches import Rectangle

    down, across = (list(dict.fromkeys(numbers[name])) for name in (rows, columns))
    grid = np.full((len(down), len(across)), np.nan)
    for row in numbers.itertuples(index=False):
        cell: dict[str, Any] = dict(zip(numbers, row, strict=True))
        y, x, number = down.index(cell[rows]), across.index(cell[columns]), cell[value]
        if number != number:
            continue
        sure = cell["Low"] > 0 or cell["High"] < 0
        grid[y, x] = number if sure else 0.0
        ink = "white" if sure and abs(number) > 0.62 * end else "#1a1a1a"
        axes.text(x, y - 0.16, f"{number:+.1f}".replace("-", "−"), size=7.5, color=ink, ha="center", va="center")
        interval = f"{cell['Low']:.1f} to {cell['High']:.1f}".replace("-", "−")
        axes.text(x, y + 0.22, interval, size=5.5, color=ink, ha="center", va="center")
    axes.imshow(grid, cmap="RdBu", vmin=-end, vmax=end, aspect="auto", interpolation="nearest")
    axes.grid(visible=False)
    axes.set_xticks(range(len(across)), across)
    axes.set_yticks(range(len(down)), down)
    axes.tick_params(length=0)
    axes.set_xticks([x - 0.5 for x in range(1, len(across))], minor=True)
    axes.set_yticks([y - 0.5 for y in range(1, len(down))], minor=True)
    axes.grid(visible=True, which="minor", axis="both", color="#c9c9c9", lw=0.5)
    axes.tick_params(which="minor", length=0)
    if best:
        shown = numbers.dropna(subset=[value])
        for _, row in shown.loc[shown.groupby(columns)[value].idxmax()].iterrows():
            place = (across.index(row[columns]) - 0.47, down.index(row[rows]) - 0.46)
            axes.add_patch(Rectangle(place, 0.94, 0.92, fill=False, edgecolor="#111111", lw=1.2))
