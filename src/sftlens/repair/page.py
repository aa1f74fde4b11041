"""One self-contained HTML page of a repair."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sftlens.data.buckets import BUCKETS
from sftlens.repair import numbers, wording
from sftlens.repair.models import BASE, FINETUNED, label
from sftlens.repair.search import Repair
from sftlens.repair.user_files import CHOOSING, REPORTING
from sftlens.reporting import html
from sftlens.reporting.html import Cell, Table, minus

COLUMNS = {"all": "all facts", "macro": "macro", **{name: name for name in BUCKETS}}
NAMES = {
    "first_line": "facts answered",
    "contains": "answer anywhere in the output",
    "well_formed": "well-formed answers",
}


def write(
    path: Path, repair: Repair, metrics: Sequence[Mapping[str, Any]], image: Path, described: Mapping[str, str]
) -> None:
    """Write the page atomically.

    Args:
        path: the HTML file.
        repair: what was measured and chosen.
        metrics: its rows of `numbers.metrics`.
        image: PNG file of the figure.
        described: how it was measured: what -> words.
    """
    rows = pd.DataFrame(metrics)
    html.write(
        path,
        "repair/page.html",
        title="Repair of a fine-tuned model" if repair.chosen else "No repair of a fine-tuned model",
        kind="" if not repair.chosen else "good" if repair.confirmed else "notice",
        outcome=minus(wording.outcome(repair)),
        examples=_examples(repair),
        cost=_shares(rows, numbers.ALL, [BASE, FINETUNED]),
        cost_note=_cost(rows, described),
        image=html.embedded(image),
        trade_off=_trade_off(repair),
        trade_off_note=f"Points against the fine-tuned model with paired 95 % intervals; task: "
        f"{wording.task_name(repair)}. sum d²: share of the sum of squared changes reverted. The base stands last, for "
        "comparison.",
        rule=wording.rule(repair),
        repaired=_shares(rows, REPORTING, [BASE, FINETUNED, label(repair.chosen)]) if repair.chosen else None,
        repaired_note=_again(rows, [BASE, FINETUNED, label(repair.chosen)]) if repair.chosen else "",
        how=Table([], [("", [Cell(name), Cell(text, "", "any")]) for name, text in described.items()]),
    )


def _examples(repair: Repair) -> str:
    sizes = numbers.sizes(repair)
    choosing, reporting = sizes["facts"].values()
    text = f"{choosing + reporting:,} facts: {choosing:,} to choose with, {reporting:,} to report on."
    if "task" in sizes:
        choosing, reporting = sizes["task"].values()
        text += f" {choosing + reporting:,} examples of the task: {choosing:,} and {reporting:,}."
    return f"{text} All intervals speak of this model only, not of other trainings."


def _value(rows: pd.DataFrame, **place: str) -> pd.Series | None:
    part = rows[(rows[list(place)] == pd.Series(place)).all(axis=1)]
    return None if part.empty else part.iloc[0]


def _percent(row: pd.Series | None) -> Cell:
    """Return a share with its interval, percent."""
    if row is None:
        return Cell("–", "", "number")
    bounds = "" if pd.isna(row["low"]) else f"{100 * row['low']:.1f}–{100 * row['high']:.1f}"
    return Cell(f"{100 * row['value']:.1f}", bounds, "number")


def _shares(rows: pd.DataFrame, half: str, models: Sequence[str]) -> Table:
    """Return shares per bucket, percent."""
    body = [
        ("", [Cell(f"{model}: {name}"), *(_percent(_value(rows, model=model, half=half, bucket=bucket, metric=metric))
                                          for bucket in COLUMNS)])
        for metric, name in NAMES.items()
        for model in models
    ]  # fmt: skip
    sizes = [_value(rows, model=BASE, half=half, bucket=bucket, metric="first_line") for bucket in BUCKETS]
    counts = [0 if size is None else int(size["n"]) for size in sizes]
    heads = [*list(COLUMNS.values())[:2], *(f"{b} (n={n})" for b, n in zip(BUCKETS, counts, strict=True))]
    return Table([Cell("%"), *(Cell(name, "", "number") for name in heads)], body, "stacked")


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
    return minus(f"{100 * row['value']:+.1f} points{interval}")


def _trade_off(repair: Repair) -> Table:
    table = numbers.trade_off(repair)
    halves = [table[table["half"] == half].set_index(["criterion", "ratio"]) for half in (CHOOSING, REPORTING)]
    places = [key for key in halves[0].index if key[0] != BASE] + [key for key in halves[0].index if key[0] == BASE]
    body = []
    for name, ratio in places:
        sides = [half.loc[[(name, ratio)]].iloc[0] for half in halves]
        label = name if pd.isna(ratio) else f"{name} {ratio:g} %"
        cells = [_signed(row, what) for row in sides for what in ("gain", "change")]
        reverted = Cell(f"{100 * sides[0]['reverted_d2']:.1f}", "", "number")
        body.append(("chosen" if sides[0]["chosen"] else "", [Cell(label), reverted, *cells]))
    heads = ("sum d² %", "facts, choosing", "task, choosing", "facts, reporting", "task, reporting")
    return Table([Cell("setting"), *(Cell(name, "", "number") for name in heads)], body)


def _signed(row: pd.Series, what: str) -> Cell:
    value, low, high = (minus(f"{100 * row[what + end]:+.1f}") for end in ("", "_low", "_high"))
    return Cell(value, f"{low} to {high}", "number")


def _again(rows: pd.DataFrame, models: Sequence[str]) -> str:
    """Return what was measured again of the mastery of some models, in words; "" where one was not."""
    again = [_value(rows, metric="reprobed_mastery", half=REPORTING, model=model) for model in models]
    means = [f"{100 * row['value']:.1f} %" for row in again if row is not None]
    if len(means) < len(models) or again[0] is None:
        return ""
    return f"Mastery of {int(again[0]['n'])} facts measured again: base, fine-tuned, repaired: {', '.join(means)}."
