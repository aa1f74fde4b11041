"""A target's frame as a chart one can point at: rows as texts, and a Vega-Lite description that page.js fills.

The numbers are those of the table beside it, written out the same way. Colours and markers are those of the figures.
"""

from typing import Any

import pandas as pd

from sftlens.dag.targets import Chart
from sftlens.reporting import frames, style

SHAPES = {"o": "circle", "s": "square", "D": "diamond", "^": "triangle-up", "v": "triangle-down", ">": "triangle-right",
          "<": "triangle-left", "X": "cross", "P": "cross", "x": "cross", "d": "wedge", "p": "arrow"}  # fmt: skip
"""matplotlib's markers -> Vega's nearest."""
REFERENCES = (frames.BASE, frames.FEWSHOT)
TOLD = ("Scope",)
"""Columns of text that follow from the others: they are told, and not chosen by."""


def chart(numbers: pd.DataFrame, wanted: Chart) -> dict[str, Any] | None:
    """Return what page.js draws, a JSON value, or None where a column is missing or no row has a number.

    `columns` and `rows` hold the whole frame as texts; `x`, `y`, `line`, `panel`, `low`, `high`, `sd` and `choices` are
    indices of columns (-1: none); `lines` name each line with its colour; `spec` lacks data, width and the ends of y.
    """
    numbers = wanted.frame(numbers) if wanted.frame else numbers
    value = wanted.shade or wanted.y
    used = [name for name in (wanted.x, wanted.y, wanted.line, wanted.panel, wanted.shade) if name]
    if any(name not in numbers for name in used) or numbers[value].isna().all():
        return None
    columns = list(numbers)
    names = [name for name in numbers if not pd.api.types.is_numeric_dtype(numbers[name])]
    if pd.api.types.is_numeric_dtype(numbers[wanted.x]):
        used.append("n")  # the marks of a line are its scales
    choices = [name for name in names if name not in (*used, *TOLD) and numbers[name].nunique() > 1]
    lines = [] if wanted.shade else list(dict.fromkeys(numbers[wanted.line]))
    low, high = ("Low", "High") if {"Low", "High"} <= set(columns) else (f"{value} low", f"{value} high")

    def at(name: str) -> int:
        return columns.index(name) if name in columns else -1

    looks = [style.GREY if name in REFERENCES else style.look(name)[0] for name in lines]
    shapes = [SHAPES.get(style.look(name)[1], "square") for name in lines]
    return {
        "columns": columns,
        "rows": frames.as_text(numbers).to_numpy().tolist(),
        "x": at(wanted.x), "y": at(wanted.y), "line": at(wanted.line), "panel": at(wanted.panel),
        "low": at(low), "high": at(high), "sd": at(f"{value} SD"), "shade": at(wanted.shade),
        "choices": [at(name) for name in choices], "words": wanted.words,
        "lines": [{"name": n, "colour": c, "reference": n in REFERENCES} for n, c in zip(lines, looks, strict=True)],
        "spec": _map(wanted) if wanted.shade else _curves(numbers, wanted, lines, looks, shapes),
    }  # fmt: skip


def _curves(
    numbers: pd.DataFrame, wanted: Chart, lines: list[str], looks: list[str], shapes: list[str]
) -> dict[str, Any]:
    """Return lines with points and bars; what does not depend on x, the references, is a dashed rule."""
    own = numbers[~numbers[wanted.line].isin(REFERENCES)]
    continuous = wanted.x == frames.RATIO or pd.api.types.is_numeric_dtype(numbers[wanted.x])
    order = list(dict.fromkeys(own[wanted.x].astype(str)))
    if wanted.x == "n":
        order = frames.scales(order)
    x: dict[str, Any] = {"field": "x", "title": wanted.x, "type": "quantitative" if continuous else "ordinal"}
    x |= {} if continuous else {"sort": order, "axis": {"labelAngle": 0}}
    if continuous:
        ends = own[wanted.x].astype("float64")
        x["scale"] = {"domain": [float(ends.min()), float(ends.max())], "padding": 8, "nice": False}
    y = {"field": "y", "type": "quantitative", "title": wanted.y, "scale": {"zero": False}}
    colour = {"field": "line", "type": "nominal", "legend": None, "scale": {"domain": lines, "range": looks}}
    shape = {"field": "line", "type": "nominal", "legend": None, "scale": {"domain": lines, "range": shapes}}
    at_zero = {"y": {"datum": 0, "type": "quantitative", "scale": {}}, "color": {"value": style.GREY}}
    zero = {
        "data": {"values": [{}]},
        "mark": {"type": "rule", "strokeDash": [6, 4], "aria": False},
        "encoding": at_zero,
    }
    seen = {"tooltip": {"field": "says"}, "description": {"field": "says"}}
    return {
        "height": 260,
        "params": [{"name": "off", "value": []}],
        "transform": [{"filter": "indexof(off, datum.line) < 0"}],
        "encoding": {"color": colour},
        "layer": [
            {"transform": [{"filter": "datum.reference"}], "mark": {"type": "rule", "strokeDash": [6, 4], "size": 2},
             "encoding": {"y": y, **seen}},
            {"transform": [{"filter": "!datum.reference && isValid(datum.low)"}],
             "mark": {"type": "rule", "opacity": 0.55, "aria": False},
             "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}}},
            {"transform": [{"filter": "!datum.reference"}], "mark": {"type": "line", "aria": False},
             "encoding": {"x": x, "y": y}},
            {"transform": [{"filter": "!datum.reference"}],
             "mark": {"type": "point", "filled": True, "size": 75, "opacity": 1, "stroke": "white", "strokeWidth": 0.7},
             "encoding": {"x": x, "y": y, "shape": shape, **seen}},
            *([zero] if (own[wanted.y] < 0).any() else []),
        ],
    }  # fmt: skip


def _map(wanted: Chart) -> dict[str, Any]:
    """Return a map whose cells are shaded by a number and show it: blue above zero, red below, as in the figures."""
    axis = {"type": "ordinal", "sort": None, "axis": {"labelAngle": 0}}
    shade = {"field": "shade", "type": "quantitative", "title": wanted.shade, "scale": {"scheme": "redblue"},
             "legend": {"orient": "bottom", "gradientLength": 160, "titleLimit": 320}}  # fmt: skip
    return {
        "params": [{"name": "off", "value": []}],
        "encoding": {"x": {"field": "x", "title": wanted.x, **axis}, "y": {"field": "y", "title": wanted.y, **axis}},
        "layer": [
            {"mark": {"type": "rect", "stroke": "#c9c9c9", "strokeWidth": 0.5},
             "encoding": {"color": shade, "tooltip": {"field": "says"}, "description": {"field": "says"}}},
            {"mark": {"type": "text", "fontSize": 10, "aria": False, "tooltip": None},
             "encoding": {"text": {"field": "text"}, "color": {"field": "ink", "type": "nominal", "scale": None}}},
        ],
        "resolve": {"scale": {"color": "independent"}},
    }  # fmt: skip
