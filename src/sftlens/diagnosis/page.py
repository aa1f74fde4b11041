"""A diagnosis as tables of a page, and the page of a check: one self-contained HTML file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from sftlens.diagnosis import screen
from sftlens.diagnosis.diagnosis import Diagnosis
from sftlens.diagnosis.effects import KEPT, LOST, Effect
from sftlens.reporting import html
from sftlens.reporting.html import Cell, Table, minus

KINDS = {LOST: "alarm", KEPT: "good"}
"""Outcome -> class of the box at the top; of others: notice."""
MOST = 50
"""Flips of a kind that the page lists; answers.csv has all."""


def write(path: Path, seen: Diagnosis, about: Sequence[str], described: Mapping[str, str]) -> None:
    """Write the page of a check atomically; `about` says what was compared, `described` how: what -> words."""
    html.write(
        path,
        "diagnosis/page.html",
        title="What fine-tuning cost",
        kind=KINDS.get(seen.outcome, "notice"),
        verdicts=[minus(line) for line in screen.verdicts(seen)],
        about=about,
        cost=cost(seen),
        note=note(seen),
        flips=[
            (f"Right before, wrong now: {len(seen.lost):,} facts", flips(seen.lost)),
            (f"Wrong before, right now: {len(seen.gained):,} facts", flips(seen.gained)),
        ],
        most=MOST,
        how=Table([], [("", [Cell(name), Cell(text, "", "any")]) for name, text in described.items()]),
    )


def cost(seen: Diagnosis) -> Table:
    """Return every effect in a row: base, fine-tuned, difference with its interval, noise, number of examples."""
    heads = ("base", "fine-tuned", "difference", "noise", "n")
    body = [("", _row(name, effect)) for name, effect in screen.rows(seen)]
    if seen.kl:
        value, low, high = seen.kl
        floor = "–" if seen.kl_floor is None else f"{seen.kl_floor:.3f}"
        interval = "" if low is None else f"{low:.3f} to {high:.3f}"
        numbers = ["–", "–", f"{value:.3f}", floor, f"{int(seen.facts['kl'].notna().sum()):,}"]
        cells = [Cell(text, interval if i == 2 else "", "number") for i, text in enumerate(numbers)]
        body.append(("", [Cell("KL(fine-tuned ‖ base) of the first answer token, nats"), *cells]))
    return Table([Cell("measured"), *(Cell(name, "", "number") for name in heads)], body, "stacked")


def _row(name: str, effect: Effect) -> list[Cell]:
    numbers = [f"{100 * effect.before:.1f}", f"{100 * effect.after:.1f}", minus(f"{100 * effect.value:+.1f}")]
    numbers += ["–" if effect.floor is None else f"{100 * effect.floor:.1f}", f"{effect.n:,}"]
    interval = minus(screen.interval(effect))
    return [Cell(name), *(Cell(text, interval if i == 2 else "", "number") for i, text in enumerate(numbers))]


def note(seen: Diagnosis) -> str:
    """Return what the numbers of `cost` mean."""
    text = (
        "Shares in percent, differences in points with paired 95 % intervals, of these two models and not of other "
        "trainings. Noise: how far the fine-tuned model differs from itself when it is asked again in other batches."
    )
    if seen.unstable:
        text += f" Of its {len(seen.facts):,} answers {seen.unstable[0]:,} were then another text, and "
        text += f"{seen.unstable[1]:,} were judged otherwise."
    return text


def flips(facts: pd.DataFrame) -> Table:
    """Return the first of some facts (`Diagnosis.lost`, `Diagnosis.gained`) with the answers of both models."""
    heads = ("question", "accepted", "base", "fine-tuned")
    body = []
    for _, row in facts.head(MOST).iterrows():
        texts = [row["question"], " | ".join(row["aliases"]), row["before_output"], row["after_output"]]
        body.append(("", [Cell(" ".join(str(text).split()), "", "any") for text in texts]))
    return Table([Cell(name) for name in heads], body)


def answers(seen: Diagnosis) -> pd.DataFrame:
    """Return every question with what both models answer, as answers.csv holds it."""
    facts = seen.facts
    table = facts[["question"]].assign(answers=[" | ".join(accepted) for accepted in facts["aliases"]])
    table[["relation", "bucket"]] = facts[["relation", "bucket"]]
    for side, name in (("before", "base"), ("after", "fine-tuned")):
        columns = {"answer": "output", "right": "right", "well-formed": "well_formed", "mastery": "mastery"}
        for shown, column in columns.items():
            table[f"{name}: {shown}"] = facts[f"{side}_{column}"]
    return table.assign(kl=facts["kl"])
