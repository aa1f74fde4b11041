"""How every figure looks: one colour and marker for each meaning, fonts, the frame of a page, and its files.

Nothing here needs matplotlib until a figure is drawn, so that the list of targets can be read without it.
"""

from __future__ import annotations

import colorsys
import hashlib
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sftlens.files import atomic_path, write_text
from sftlens.reporting import frames, layout

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from sftlens.dag.targets import Target

LOOKS = {
    # Training sets: dark to light, ordered by mastery; brightness and marker tell lines apart where colour does not.
    "D0": ("#0d0887", "o"),
    "D1": ("#7e03a8", "s"),
    "D2": ("#c23b70", "D"),
    "D3": ("#e5672f", "^"),
    "D4": ("#cfa000", "X"),
    "mixed": ("#2b2b2b", "P"),
    # Ranking criteria, and the post-hoc method that they are compared with.
    "relative": ("#0072b2", ">"),
    "absolute": ("#009e73", "<"),
    "random": ("#7a3b00", "p"),
    "smallest": ("#60a000", "v"),
    "bottom": ("#00455c", "h"),
    "interpolation": ("#e00000", "d"),
    # Splits of the facts.
    "Train": ("#5c1a1a", "+"),
    "ID test": ("#3b6fe0", "x"),
    "OOD test": ("#00a3b8", "1"),
}
"""What a line stands for -> its colour and marker; no two meanings share either."""
LINES: dict[str, Any] = {
    "relative": "-",
    "interpolation": (0, (5, 2)),
    "absolute": (0, (1, 1.3)),
    "random": (0, (5, 1.5, 1, 1.5)),
    "smallest": (0, (8, 1.5, 1, 1.5, 1, 1.5)),
    "bottom": (0, (2.5, 1, 2.5, 3)),
    "spectral": (0, (9, 3)),
    "module-wise": (0, (3, 1, 1, 1, 1, 1)),
}
"""Criteria and methods -> style of a line, where its colour is a training set's."""
OTHER = ("#4a4a4a", "8")
"""What has no name."""
OTHERS = ("*", "H", "8")
"""Markers of names that are not in LOOKS, such as recipes."""
GREY = "#6e6e6e"
"""References: the base model, what a line style means."""
CHOSEN, FORBIDDEN = "#111111", "#d9a106"
FORMATS = ("png", "svg", "pdf")
EDGE: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 0.6}
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 9.5, "axes.labelsize": 9,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#555555", "axes.axisbelow": True,
    "axes.grid": True, "axes.grid.axis": "y", "grid.color": "#e4e4e4", "grid.linewidth": 0.7,
    "xtick.color": "#333333", "ytick.color": "#333333", "lines.linewidth": 1.6, "lines.markersize": 5.5,
    "pdf.fonttype": 42, "svg.hashsalt": "sftlens",
}  # fmt: skip
_narrow: ContextVar[bool] = ContextVar("narrow", default=False)
_PHONE = 4.2
"""Width of a narrow figure in inches: on a phone of 390 pixels its small print has 10 of them."""
# Inches: a line of the legend, a line of the foot; then the characters of the foot that surely fit an inch.
_LEGEND, _FOOT, _PER_INCH = 0.22, 0.155, 16.0


def look(name: str) -> tuple[str, str]:
    """Return the colour and the marker of a training set, criterion or split; a name of the user's always has its own.

    The colours of names that LOOKS lacks go round the circle of hues by a hash, dark enough for white paper.
    """
    if name in LOOKS or not name:
        return LOOKS.get(name, OTHER)
    first, second, third = hashlib.sha256(name.encode()).digest()[:3]
    rgb = colorsys.hsv_to_rgb(first / 256, 0.85, 0.45 + second / 256 * 0.2)
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgb), OTHERS[third % len(OTHERS)]


def line(criterion: str) -> Any:
    """Return the style of a line of a criterion or method."""
    return LINES.get(criterion, (0, (1, 3)))


def ink(colour: str) -> tuple[float, float, float]:
    """Return a colour darkened until text in it has a contrast of 4.5 to white (WCAG 2.2, 1.4.3)."""
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(colour)
    while 1.05 / (luminance(red, green, blue) + 0.05) < 4.5:
        red, green, blue = 0.97 * red, 0.97 * green, 0.97 * blue
    return red, green, blue


def luminance(*rgb: float) -> float:
    """Return the relative luminance of red, green and blue, 0 (black) to 1 (white), as WCAG 2.2 defines it for sRGB."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def key(name: str, **line: Any) -> Line2D:
    """Return the legend's entry of a training set, criterion or split; `line` sets its style otherwise."""
    from matplotlib.lines import Line2D

    colour, marker = look(name)
    return Line2D([], [], label=name, **(line or {"color": colour, "marker": marker, **EDGE}))


@contextmanager
def applied() -> Iterator[None]:
    """Apply this style on matplotlib's own defaults, whatever the user's matplotlibrc says, for a moment."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def drawn(target: Target, numbers: pd.DataFrame, notice: str = "", *, narrow: bool = False) -> Figure:
    """Return the figure of a target's numbers; a missing cell is a gap in its line, and without any it says so.

    `notice` is a sentence printed under the panels; a `narrow` figure has its panels below each other, for a phone.
    """
    assert target.draw
    chosen = _narrow.set(narrow)
    try:
        with applied():
            return target.draw(numbers, notice)
    finally:
        _narrow.reset(chosen)


def page(
    rows: int,
    columns: int,
    size: tuple[float, float],
    *,
    legend: Sequence[Sequence[Line2D]] = (),
    foot: Sequence[str] = (),
    sharex: bool | Literal["row"] = False,
    sharey: bool | Literal["row"] = "row",
) -> tuple[Figure, Any]:
    """Return a figure with its legend above and its foot below, and its panels, an array [rows, columns] of axes.

    A panel is `size` inches wide and high; the legend has lines of entries, the foot paragraphs in small print. The
    page grows with each part, so nothing overlaps; one without rows says that there are no results.
    `sharex` and `sharey` are those of `Figure.subplots`.
    """
    from matplotlib.figure import Figure

    stacked = _narrow.get()
    wide, high = (_PHONE - 0.4, size[1]) if stacked else size
    down, across = (max(1, rows) * columns, 1) if stacked else (max(1, rows), columns)
    width = _PHONE if stacked else max(4.6, across * wide + 0.4)
    legend = [part for line in legend for part in _wrapped(line, width)]
    lines = [line for text in foot for line in textwrap.wrap(text, int(width * _PER_INCH))]
    above, below = 0.1 + _LEGEND * len(legend), 0.14 + _FOOT * len(lines)
    total = above + down * high + below
    figure = Figure(figsize=(width, total))
    room = (0, below / total, 1, 1 - (above + below) / total)
    figure.set_layout_engine("constrained", rect=room, w_pad=0.08, h_pad=0.06)
    small: Any = {"size": 7.5, "color": "#333333", "va": "bottom"}
    words: list[Any] = [figure.text(0.1 / width, 0.08 / total, "\n".join(lines), **small)] if lines else []
    for i, handles in enumerate(legend):
        corner = (0.1 / width, 1 - (0.08 + _LEGEND * i) / total)
        words.append(figure.legend(
            handles=handles, ncols=len(handles), loc="upper left", bbox_to_anchor=corner, frameon=False, fontsize=8,
            borderaxespad=0, borderpad=0, columnspacing=1.1, handlelength=2.0, handletextpad=0.5,
        ))  # fmt: skip
    for word in words:
        word.set_in_layout(False)
    same = (sharex is True, sharey is True) if stacked else (sharex, sharey)
    grid = figure.subplots(down, across, squeeze=False, sharex=same[0], sharey=same[1]).reshape(max(1, rows), columns)
    if stacked and sharey == "row":
        for row in grid:
            for axes in row[1:]:
                axes.sharey(row[0])
    for axes in grid.flat if not rows else ():
        nothing(axes)
    return figure, grid


def spread(axes: Axes, x: Sequence[float], rows: pd.DataFrame, unit: str, colour: str) -> None:
    """Draw the spread over seeds of a frame's column `unit`: a band of one SD, or of two seeds each as a dot.

    The two seeds of a point lie SD / sqrt(2) either side of their mean.
    """
    mean, sd, seeds = (rows[name].astype("float64") for name in (unit, f"{unit} SD", "Seeds"))
    wide = sd.where(seeds >= frames.BAND)
    if wide.notna().any():
        axes.fill_between(x, mean - wide, mean + wide, color=colour, alpha=0.16, linewidth=0)
    alone = wide.notna() & wide.shift().isna() & wide.shift(-1).isna()
    for i in alone[alone].index:  # A band needs two neighbouring points; a point between gaps gets a bar.
        axes.errorbar(x[i], mean[i], wide[i], color=colour, elinewidth=1, capsize=2.5)
    half = (sd / 2**0.5).where(seeds < frames.BAND)
    if half.notna().any():
        dots = [*(mean - half), *(mean + half)]
        axes.plot([*x, *x], dots, ".", color=colour, markersize=3.4, alpha=0.75, zorder=1.9)


def spread_note(table: pd.DataFrame) -> str:
    """Return what `spread` shows of a frame, in words; "" without seeds."""
    trained = table[~table["Trained on"].isin([frames.BASE, frames.FEWSHOT])]
    counts = {int(number) for number in trained["Seeds"] if number == number and number > 0}
    if counts <= {1}:
        return "One seed each, so no spread is shown." if counts else ""
    many = sorted(counts - {1, 2})
    number = f"{many[0]}" if len(many) == 1 else f"{many[0]} to {many[-1]}" if many else ""
    notes = [f"Band: mean ± SD over {number} seeds." if many else ""]
    notes += ["Small dots: the two seeds of a point." if 2 in counts else ""]
    return " ".join([*filter(None, notes), *(["Points from a single seed have no spread."] if 1 in counts else [])])


def _wrapped(line: Sequence[Line2D], width: float) -> Iterator[list[Line2D]]:
    """Yield the entries of a line of the legend, line by line as they fit a width in inches."""
    part: list[Line2D] = []
    used = 0.0
    for entry in line:
        needs = 0.5 + 0.063 * len(str(entry.get_label()))
        if part and used + needs > width - 0.1:
            yield part
            part, used = [], 0.0
        part.append(entry)
        used += needs
    yield part


def nothing(axes: Axes, text: str = "No results yet") -> None:
    """Turn a panel into a place without axes that says so."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY)


def save(figure: Figure, stem: Path, title: str = "", notice: str = "", formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write `stem`.png (150 dpi), .svg and .pdf, each atomically and without a date; return their paths.

    Title and notice stand in the metadata of each.
    """
    metadata: dict[str, dict[str, Any]] = {
        "png": {"Software": None, "Title": title, "Description": notice},
        "svg": {"Date": None, "Creator": None, "Title": title, "Description": notice},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None, "Title": title, "Subject": notice},
    }
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in formats]
    with applied():
        # Laid out once, and drawn once a format: while a figure has a layout engine, each format draws it twice.
        if engine := figure.get_layout_engine():
            engine.execute(figure)
            figure.set_layout_engine(None)
        # The layout's solver may end in another last bit from run to run, and ids in an SVG are hashes of all bits.
        for axes in figure.axes:
            for which in ("original", "active"):
                left, bottom, width, height = (round(v, 9) for v in axes.get_position(which == "original").bounds)
                axes.set_position((left, bottom, width, height), which)
        for suffix, path in zip(formats, paths, strict=True):
            with atomic_path(path) as partial:
                figure.savefig(partial, format=suffix, dpi=150, metadata=metadata[suffix])
    return paths


def write(stem: Path, kind: str, target: Target, numbers: pd.DataFrame, notice: str) -> None:
    """Write a target's frame as `stem`.csv with its words (.txt), and beside it the `figure` or the `table`."""
    if kind == "figure":
        save(drawn(target, numbers, notice), stem, target.title, notice)
        phone = drawn(target, numbers, notice, narrow=True)
        save(phone, stem.with_name(f"{stem.name}-narrow"), target.title, notice, ["svg"])
    else:
        for suffix, printed in ((".md", layout.markdown), (".tex", layout.latex)):
            write_text(stem.with_name(f"{stem.name}{suffix}"), printed(target, numbers, notice))
    frames.write_csv(numbers, stem.with_name(f"{stem.name}.csv"))
    write_text(stem.with_name(f"{stem.name}.txt"), frames.words(target, numbers, notice))
