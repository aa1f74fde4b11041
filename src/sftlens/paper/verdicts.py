"""The decision rule of the claims (docs/claims.md), the same for a study and for the paper's own numbers.

A part of a primary must lie above its threshold. With a = 0.05 / (number of claims):

    reproduced     the lower end of every part's 1 - a interval is above its threshold
    not            the upper end of any part's 1 - a / parts interval is below its threshold
    undecided      neither
    not testable   a cell is missing, or fewer than three seeds
    effect only    the error is unknown (single runs of the paper)

All parts have to hold, so "reproduced" needs no further correction (intersection-union test); "not" needs one, as any
part can cause it.
"""

import math
from dataclasses import dataclass

from sftlens.paper import primaries
from sftlens.paper.claims import Specification, specification
from sftlens.paper.evidence import Evidence, Missing, Part

REPRODUCED, NOT, UNDECIDED = "reproduced", "not reproduced", "undecided"
NOT_TESTABLE, EFFECT_ONLY = "not testable", "effect only, no verdict"


@dataclass(frozen=True)
class Verdict:
    """The verdict on one claim, of one model, on one test set."""

    claim: str
    model: str
    tested_on: str
    verdict: str
    effect: float = math.nan
    """The part nearest to failing (its value minus its threshold, in standard errors), as for `low` to `label`."""
    low: float = math.nan
    high: float = math.nan
    """The 1 - a interval."""
    threshold: float = math.nan
    label: str = ""
    seeds: int = 0
    second: str = ""
    why: str = ""
    """Why it is not testable."""


def verdicts(evidence: Evidence) -> list[Verdict]:
    """Return the verdict on every claim and each test set that it is tested on, in the order of the claims."""
    spec = specification()
    return [judge(name, evidence, split, spec) for name, claim in spec.claims.items() for split in claim.tested_on]


def judge(claim: str, evidence: Evidence, split: str, spec: Specification) -> Verdict:
    """Return the verdict on one claim."""
    try:
        parts = list(primaries.PRIMARIES[claim](evidence, split, spec))
        second = primaries.second(claim, evidence, split, spec)
    except Missing as missing:
        return Verdict(claim, evidence.model, split, NOT_TESTABLE, why=str(missing))
    worst = min(parts, key=_margin)
    low, high = worst.interval(spec.alpha)
    shown = (worst.value, low, high, worst.threshold, worst.label, worst.seeds, second)
    if any(part.seeds and part.seeds < spec.seeds for part in parts):
        why = f"fewer than {spec.seeds} seeds"
        return Verdict(claim, evidence.model, split, NOT_TESTABLE, *shown, why)
    if any(math.isnan(part.se) for part in parts):
        decided = EFFECT_ONLY
    elif all(part.interval(spec.alpha)[0] > part.threshold for part in parts):
        decided = REPRODUCED
    elif any(part.interval(spec.alpha / len(parts))[1] < part.threshold for part in parts):
        decided = NOT
    else:
        decided = UNDECIDED
    return Verdict(claim, evidence.model, split, decided, *shown)


def _margin(part: Part) -> float:
    distance = part.value - part.threshold
    return distance / part.se if part.se > 0 else distance
