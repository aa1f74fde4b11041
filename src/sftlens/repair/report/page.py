"""One self-contained HTML page of a repair."""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import pandas as pd

from sftlens.data.buckets import BUCKETS
from sftlens.files import write_text
from sftlens.repair.inputs.halves import CHOOSING, REPORTING
from sftlens.repair.measure.models import BASE, FINETUNED
from sftlens.repair.report import numbers, wording
from sftlens.repair.search import Found

COLUMNS = {"all": "all facts", "macro": "macro", **{name: name for name in BUCKETS}}
NAMES = {"contains": "facts answered", "well_formed": "well-formed answers"}


def write(
    path: Path, found: Found, metrics: Sequence[Mapping[str, Any]], image: Path, described: Mapping[str, str]
) -> None:
    """Write the page atomically.

    Args:
        path: the HTML file.
        found: the repair.
        metrics: its rows of `numbers.metrics`.
        image: PNG file of the figure.
        described: how it was measured: what -> words.
    """
    page = Template(files("sftlens.repair.report").joinpath("page.html").read_text(encoding="utf-8"))
    rows = pd.DataFrame(metrics)
    data = b64encode(image.read_bytes()).decode("ascii")
    kind = "" if not found.chosen else "confirmed" if found.confirmed else "doubtful"
    text = page.substitute(
        title="Repair of a fine-tuned model" if found.chosen else "No repair of a fine-tuned model",
        kind=kind,
        outcome=escape(wording.outcome(found)),
        asked=escape(_asked(found)),
        cost=_shares(rows, numbers.ALL, [BASE, FINETUNED]),
        cost_note=escape(_cost(rows, described)),
        image=f"data:image/png;base64,{data}",
        trade_off=_trade_off(found),
        trade_off_note=escape(
            f"Points against the fine-tuned model with paired 95 % intervals; task: {wording.task_name(found)}. "
            "sum d²: share of the sum of squared changes reverted. The base stands last, for comparison."
        ),
        rule=escape(wording.rule(found)),
        repaired=_repaired(found, rows),
        how=_grid(("", ""), [([escape(name), escape(text)], "") for name, text in described.items()], "words"),
    )
    write_text(path, text)


def _asked(found: Found) -> str:
    halves = [int((found.asked.facts["half"] == half).sum()) for half in (CHOOSING, REPORTING)]
    text = f"{len(found.asked.facts):,} facts: {halves[0]:,} to choose with, {halves[1]:,} to report on."
    if found.asked.tasks is not None:
        sizes = [int((found.asked.tasks["half"] == half).sum()) for half in (CHOOSING, REPORTING)]
        text += f" {len(found.asked.tasks):,} examples of the task: {sizes[0]:,} and {sizes[1]:,}."
    return f"{text} All intervals speak of this model only, not of other trainings."


def _value(rows: pd.DataFrame, **place: str) -> pd.Series | None:
    part = rows[(rows[list(place)] == pd.Series(place)).all(axis=1)]
    return None if part.empty else part.iloc[0]


def _percent(row: pd.Series | None) -> str:
    """Return a share with its interval, percent."""
    if row is None:
        return "–"
    bounds = "" if pd.isna(row["low"]) else f" <small>{100 * row['low']:.1f}–{100 * row['high']:.1f}</small>"
    return f"{100 * row['value']:.1f}{bounds}"


def _shares(rows: pd.DataFrame, half: str, models: Sequence[str]) -> str:
    """Return shares per bucket, percent, as a table."""
    body = [
        ([escape(f"{model}: {name}"), *(_percent(_value(rows, model=model, half=half, bucket=bucket, metric=metric))
                                        for bucket in COLUMNS)], "")
        for metric, name in NAMES.items()
        for model in models
    ]  # fmt: skip
    sizes = [_value(rows, model=BASE, half=half, bucket=bucket, metric="contains") for bucket in BUCKETS]
    counts = [0 if size is None else int(size["n"]) for size in sizes]
    heads = [*list(COLUMNS.values())[:2], *(f"{b} (n={n})" for b, n in zip(BUCKETS, counts, strict=True))]
    return _grid(("%", *heads), body, "shares")


def _cost(rows: pd.DataFrame, described: Mapping[str, str]) -> str:
    parts = []
    if (cost := _value(rows, metric="cost", bucket="all")) is not None:
        parts.append(f"Facts answered, fine-tuned minus base: {_points(cost)}.")
    again = [_value(rows, metric="reprobed_mastery", half="all", model=model) for model in (BASE, FINETUNED)]
    if again[0] is not None and again[1] is not None:
        means = " and ".join(f"{100 * row['value']:.1f} %" for row in again if row is not None)
        parts.append(f"Mastery of {int(again[0]['n'])} facts measured again, base and fine-tuned: {means}.")
    for bucket, name in (("D4", "well-known facts (D4)"), ("all", "all facts")):
        if (kl := _value(rows, metric="kl", bucket=bucket)) is not None:
            parts.append(f"KL(fine-tuned ‖ base) of the first answer token, {name}: {kl['value']:.3f} nats.")
    buckets = f"D0 (never) to D4 (over three in four): how often the base gives the answer; {described['mastery']}."
    return " ".join([*parts, buckets, "The macro is the mean of the five, undefined (–) where one is empty."])


def _points(row: pd.Series) -> str:
    interval = "" if pd.isna(row["low"]) else f" ({100 * row['low']:+.1f} to {100 * row['high']:+.1f})"
    return f"{100 * row['value']:+.1f} points{interval}"


def _trade_off(found: Found) -> str:
    table = numbers.trade_off(found)
    halves = [table[table["half"] == half].set_index(["criterion", "ratio"]) for half in (CHOOSING, REPORTING)]
    rows = [key for key in halves[0].index if key[0] != BASE] + [key for key in halves[0].index if key[0] == BASE]
    body = []
    for name, ratio in rows:
        places = [half.loc[[(name, ratio)]].iloc[0] for half in halves]
        label = name if pd.isna(ratio) else f"{name} {ratio:g} %"
        cells = [_signed(row, what) for row in places for what in ("gain", "change")]
        body.append(
            ([escape(label), f"{100 * places[0]['reverted_d2']:.1f}", *cells], "chosen" if places[0]["chosen"] else "")
        )
    heads = ("setting", "sum d² %", "facts, choosing", "task, choosing", "facts, reporting", "task, reporting")
    return _grid(heads, body)


def _signed(row: pd.Series, what: str) -> str:
    return f"{100 * row[what]:+.1f} <small>{100 * row[f'{what}_low']:+.1f} to {100 * row[f'{what}_high']:+.1f}</small>"


def _repaired(found: Found, rows: pd.DataFrame) -> str:
    if not found.chosen:
        return ""
    name = numbers.label(found.chosen)
    parts = ["<h2>The repaired model, on the reporting half</h2>", _shares(rows, REPORTING, [BASE, FINETUNED, name])]
    again = [_value(rows, metric="reprobed_mastery", half=REPORTING, model=model) for model in (BASE, FINETUNED, name)]
    if all(row is not None for row in again):
        means = ", ".join(f"{100 * row['value']:.1f} %" for row in again if row is not None)
        number = int(again[0]["n"]) if again[0] is not None else 0
        parts.append(
            f'<p class="soft">Mastery of {number} facts measured again: base, fine-tuned, repaired: {means}.</p>'
        )
    return "\n".join(parts)


def _grid(heads: Sequence[str], rows: Iterable[tuple[Sequence[str], str]], style: str = "") -> str:
    """Return an HTML table, of the class `style`, of finished cells; each row comes with its class."""
    head = "".join(f"<th>{escape(name)}</th>" for name in heads) if any(heads) else ""
    body = "\n".join(
        f'<tr class="{kind}">' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>" for cells, kind in rows
    )
    table = f'<table class="{style}">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>'
    return f'<div class="wide">{table}</div>'
