"""One self-contained HTML page of a repair."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sftlens.data.buckets import BUCKETS
from sftlens.diagnosis import page as diagnosis_page
from sftlens.repair import numbers, wording
from sftlens.repair.models import BASE, FINETUNED, label
from sftlens.repair.search import Repair
from sftlens.repair.user_files import CHOOSING, REPORTING
from sftlens.reporting import html
from sftlens.reporting.html import Cell, Table, minus

MOST = 10
"""Examples of each kind of flip."""
NAMES = {
    "first_line": "facts answered",
    "contains": "answer anywhere in the output",
    "well_formed": "well-formed answers",
}


def write(
    path: Path,
    repair: Repair,
    metrics: Sequence[Mapping[str, Any]],
    image: Path,
    described: Mapping[str, str],
    stored: str,
) -> None:
    """Write the page of a repair with its rows of `numbers.metrics`, atomically; `image` is the PNG file of its figure.

    `described` says how it was measured, what -> words, `stored` how the repaired model is written, and how exact that
    is.
    """
    rows = pd.DataFrame(metrics)
    html.write(
        path,
        "repair/page.html",
        title="Repair of a fine-tuned model" if repair.written else "No repair of a fine-tuned model",
        kind="" if not repair.written else "good" if repair.confirmed else "notice",
        diagnosis=minus(wording.cost(repair.diagnosis)).replace("->", "→"),
        outcome=minus(wording.outcome(repair)),
        stored=minus(stored),
        beside=_beside(repair),
        flips=_flips(repair),
        examples=_examples(repair),
        effects=diagnosis_page.cost(repair.diagnosis),
        effects_note=diagnosis_page.note(repair.diagnosis),
        cost=_shares(rows, numbers.ALL, [BASE, FINETUNED]),
        cost_note=_cost(rows, described),
        image=html.embedded(image),
        trade_off=_trade_off(repair),
        trade_off_note="Points against the fine-tuned model with paired intervals: on the choosing half those of all "
        "settings hold together, on the reporting half each has 95 %. Task: "
        f"{wording.task_name(repair)}. sum d²: share of the region's sum of squared changes that is reverted. The base "
        "stands last.",
        rule=wording.rule(repair),
        repaired=_shares(rows, REPORTING, [BASE, FINETUNED, label(repair.chosen)]) if repair.chosen else None,
        repaired_note=_again(rows, [BASE, FINETUNED, label(repair.chosen)]) if repair.chosen else "",
        how=Table([], [("", [Cell(name), Cell(text, "", "any")]) for name, text in described.items()]),
    )


def _beside(repair: Repair) -> Table:
    """Return what base, fine-tuned and repaired model have, and the paired differences."""
    labels = [label(key) for key in numbers.reported(repair)]
    heads = ["base", "fine-tuned", "fine-tuned − base"]
    heads += [f"repaired ({labels[2]})", "repaired − fine-tuned"] if repair.chosen else []
    body = []
    for row in numbers.side_by_side(repair):
        names = [*labels[:2], "cost", *labels[2:], *(["gain"] if repair.chosen else [])]
        cells = []
        for name in names:
            text = minus(wording.number(row[name], row["unit"], "+" if name in ("cost", "gain") else ""))
            value, _, interval = text.partition(" (")
            cells.append(Cell(value.replace("-", "–"), interval.rstrip(")"), "number"))
        body.append(("", [Cell(f"{row['metric']}, {row['unit']}", f"n = {row['n']:,}"), *cells]))
    return Table([Cell("measured"), *(Cell(name, "", "number") for name in heads)], body)


def _flips(repair: Repair) -> list[tuple[str, Table]]:
    """Return titled tables of facts that were lost and regained, MOST of each."""
    flips, labels = numbers.flips(repair), [label(key) for key in numbers.reported(repair)]
    titles = {"regained": "lost by fine-tuning, regained by the repair", "lost": "lost by fine-tuning"}
    titles |= {"lost": "lost by fine-tuning, and not regained"} if repair.chosen else {}
    titles["lost by the repair"] = "answered by the fine-tuned model, lost by the repair"
    found = []
    for kind, title in titles.items():
        part = flips[flips["kind"] == kind]
        shown = part.head(MOST)
        rows = [("", [Cell(str(row[name]).strip(), "", "any") for name in ("question", "answers", *labels)])
                for _, row in shown.iterrows()]  # fmt: skip
        if rows:
            heads = [Cell(name) for name in ("question", "accepted", *labels)]
            found.append(
                (f"{title}: {len(part):,}" + (f", {MOST} of them" if len(part) > MOST else ""), Table(heads, rows))
            )
    return found


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
                                          for bucket in ("all", "macro", *BUCKETS))])
        for metric, name in NAMES.items()
        for model in models
    ]  # fmt: skip
    sizes = [_value(rows, model=BASE, half=half, bucket=bucket, metric="first_line") for bucket in BUCKETS]
    counts = [0 if size is None else int(size["n"]) for size in sizes]
    heads = ["all facts", "macro", *(f"{b} (n={n})" for b, n in zip(BUCKETS, counts, strict=True))]
    return Table([Cell("%"), *(Cell(name, "", "number") for name in heads)], body, "stacked")


def _cost(rows: pd.DataFrame, described: Mapping[str, str]) -> str:
    parts = []
    if (cost := _value(rows, metric="cost", bucket="all")) is not None:
        interval = "" if pd.isna(cost["low"]) else f" ({100 * cost['low']:+.1f} to {100 * cost['high']:+.1f})"
        points = minus(f"{100 * cost['value']:+.1f} points{interval}")
        parts.append(f"Facts answered, fine-tuned minus base: {points}.")
    again = [_value(rows, metric="reprobed_mastery", half="all", model=model) for model in (BASE, FINETUNED)]
    if again[0] is not None and again[1] is not None:
        means = " and ".join(f"{100 * row['value']:.1f} %" for row in again if row is not None)
        parts.append(f"Mastery of {int(again[0]['n'])} facts measured again, base and fine-tuned: {means}.")
    for bucket, name in (("D4", "well-known facts (D4)"), ("all", "all facts")):
        if (kl := _value(rows, metric="kl", bucket=bucket)) is not None:
            parts.append(f"KL(fine-tuned ‖ base) of the first answer token, {name}: {kl['value']:.3f} nats.")
    buckets = f"D0 (never) to D4 (over three in four): how often the base gives the answer; {described['mastery']}."
    return " ".join([*parts, buckets, "The macro is the mean of the five, undefined (–) where one is empty."])


def _trade_off(repair: Repair) -> Table:
    table = numbers.trade_off(repair)
    names = [label(key) for key in repair.compared[CHOOSING]]
    halves = [table[table["half"] == half].set_axis(names) for half in (CHOOSING, REPORTING)]
    body = []
    for name in [name for name in names if name != BASE] + [BASE]:
        sides = [half.loc[name] for half in halves]
        cells = [_signed(row, what) for row in sides for what in ("gain", "change")]
        reverted = Cell(f"{100 * sides[0]['reverted_d2']:.1f}", "", "number")
        body.append(("chosen" if sides[0]["chosen"] else "", [Cell(name), reverted, *cells]))
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
