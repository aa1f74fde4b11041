"""A diagnosis as text for a terminal: at most two screens (48 lines of 100 columns)."""

import textwrap
from collections.abc import Sequence
from functools import partial

from sftlens.diagnosis import effects
from sftlens.diagnosis.diagnosis import Diagnosis
from sftlens.diagnosis.effects import Effect, Verdict

WIDTH, LINES = 100, 48
BUCKET_MEANING = {"D0": "base mastery 0", "D4": "base mastery over 75 %"}
EXAMPLES, TASKS = 5, 6
"""Flips of a kind, and tasks, that are shown at most."""


def sentence(verdict: Verdict, effect: Effect, what: str) -> str:
    """Return a verdict on `what` in words, with the effect that it is about."""
    limit, change = f"{100 * verdict.tolerance:g} points", f"{_points(effect)} points ({interval(effect)})"
    if verdict.outcome == effects.LOST:
        return f"lost: {what} changed by {change}; more than {limit} are lost"
    if verdict.outcome == effects.KEPT:
        return f"kept: {what} changed by {change}; less than {limit} are lost"
    remedy = verdict.reason
    if verdict.enough:
        remedy = f"about {verdict.enough:,} would be enough, there are {effect.n:,}"
    return f"undecided, too little evidence: {what} changed by {change}, the limit is {limit}; {remedy}"


def verdicts(seen: Diagnosis, most: int | None = None) -> list[str]:
    """Return the verdict on knowledge and on each of the first `most` tasks, lost ones first, a sentence each."""
    what = "mastery" if seen.judged is seen.knowledge else "the share of facts answered"
    found = [f"knowledge {sentence(seen.verdict, seen.judged, what)}"]
    order = [effects.LOST, effects.UNDECIDED, effects.KEPT]
    names = sorted(seen.tasks, key=lambda name: order.index(seen.task_verdicts[name].outcome))
    found += [f"{name} {sentence(seen.task_verdicts[name], seen.tasks[name], 'the score')}" for name in names[:most]]
    left = names[len(found) - 1 :]
    outcome = effects.together([seen.task_verdicts[name] for name in left])
    return found + ([f"{len(left)} more tasks: {outcome} (report.json of --out has them)"] if left else [])


def rows(seen: Diagnosis) -> list[tuple[str, Effect]]:
    """Return every effect that is a share, with its name, in the order in which they are shown."""
    found = [("knowledge: mastery, %", seen.knowledge)] if seen.knowledge else []
    found.append(("facts answered, %", seen.answered))
    for name, effect in seen.by_bucket.items():
        meaning = f" ({BUCKET_MEANING[name]})" if name in BUCKET_MEANING else ""
        found.append((f"  of {name}{meaning}", effect))
    found.append(("format: well-formed answers, %", seen.well_formed))
    return found + [(f"task {_cut(name, 25)}, %", effect) for name, effect in seen.tasks.items()]


def text(seen: Diagnosis, about: Sequence[str]) -> str:
    """Return the lines of a diagnosis; `about` says in lines what was compared and how."""
    wrap = partial(textwrap.wrap, width=WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    lines = [line for part in (*about, "", *verdicts(seen, TASKS)) for line in wrap(part) or [""]]
    head = f"{'':34}{'base':>8}{'tuned':>8}{'change':>9}  {'95 % interval':<18}{'noise':>6}{'n':>8}"
    shown = rows(seen)
    shown = shown[: len(shown) - max(0, len(seen.tasks) - TASKS)]
    lines += ["", head, *(_row(name, effect) for name, effect in shown)]
    if seen.kl:
        value, low, high = seen.kl
        bounds = "" if low is None else f"{low:.3f} to {high:.3f}"
        floor = "" if seen.kl_floor is None else f"{seen.kl_floor:.3f}"
        count = int(seen.facts["kl"].notna().sum())
        lines.append(
            f"{'KL of the first answer token, nats':<34}{'':16}{value:>9.3f}  {bounds:<18}{floor:>6}{count:>8,}"
        )
    if seen.unstable:
        texts, judgements = seen.unstable
        lines.append(
            f"noise: the tuned model asked again in other batches; {texts:,} answers differ, {judgements:,} scores"
        )
    # Examples fill what is left, the lost facts first: question, accepted answer, what the model that was wrong said.
    for side, other, flipped, title in (
        ("before", "after", seen.lost, "right before, wrong now"),
        ("after", "before", seen.gained, "wrong before, right now"),
    ):
        left = (LINES - len(lines)) // (2 if side == "before" else 1) - 2
        lines += ["", f"{title}: {len(flipped):,} facts"]
        for _, row in flipped.head(max(0, min(EXAMPLES, left))).iterrows():
            said = _cut(" ".join(str(row[f"{other}_output"]).split()), 24) or "nothing"
            question, answer = _cut(str(row["question"]), 46), _cut(row["aliases"][0], 20)
            lines.append(f"  {question:<46}  {answer:<20}  not {said}")
    return "\n".join(line.rstrip() for line in lines)


def _row(name: str, effect: Effect) -> str:
    before, after = (f"{100 * value:.1f}" for value in (effect.before, effect.after))
    floor = "" if effect.floor is None else f"{100 * effect.floor:.1f}"
    return f"{name:<34}{before:>8}{after:>8}{_points(effect):>9}  {interval(effect):<18}{floor:>6}{effect.n:>8,}"


def _points(effect: Effect) -> str:
    return f"{100 * effect.value:+.1f}"


def interval(effect: Effect) -> str:
    """Return the interval of an effect in points, as text."""
    return "-" if effect.low != effect.low else f"{100 * effect.low:+.1f} to {100 * effect.high:+.1f}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
