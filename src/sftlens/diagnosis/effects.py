"""One paired effect: a mean before and after, its difference with an interval, and whether something was lost.

Both models answer the same examples, so the interval is that of the mean difference, a 95 % t interval. Where hardly
any example changed a t interval promises too much: of n examples none may change although a share of
1 - 0.025^(1/n) would (Clopper and Pearson 1934, Biometrika 26, 404-413), so no interval is narrower than that.

Example. 100 facts, of which 60 are known before and 50 after; 12 were lost and 2 gained. The difference is -10 points
with an interval of -17.2 to -2.8. Against a tolerance of 2 points this is a loss, against one of 5 it is too little
evidence, and some 210 facts would be enough if the difference stayed what it is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sftlens.statistics import intervals

LOST, KEPT, UNDECIDED = "lost", "kept", "too little evidence"
EXIT_STATUS = {KEPT: 0, LOST: 2, UNDECIDED: 3}
"""What a program that serves as a gate ends with."""

UNSEEN = 0.025
"""Probability, on either side, that a 95 % interval leaves out."""


@dataclass(frozen=True)
class Effect:
    """A mean of two models over the same examples; shares (0 to 1), unless the values are another unit."""

    before: float
    after: float
    value: float
    """after - before."""
    low: float
    high: float
    """The 95 % interval of `value`; both NaN for a single example."""
    n: int
    floor: float | None = None
    """Size of the difference between two measurements of one and the same model; None: not measured."""


@dataclass(frozen=True)
class Verdict:
    """Whether an effect is a loss of more than the tolerance."""

    outcome: str
    """LOST, KEPT or UNDECIDED."""
    tolerance: float
    enough: int | None = None
    """Of UNDECIDED: about how many examples would decide; None where more of the same would not."""
    reason: str = ""
    """Why more of the same would not."""


def paired(before: ArrayLike, after: ArrayLike, again: ArrayLike | None = None) -> Effect:
    """Return the effect of `after` against `before`, values [examples] with no NaN: right or wrong, scores, mastery.

    `again` is the second model measured once more, on the examples that it holds a number for (NaN: not measured).
    """
    first, second = (np.asarray(values, dtype=np.float64) for values in (before, after))
    value, low, high = intervals.mean((second - first).tolist())
    low, high = (math.nan, math.nan) if low is None or high is None else (low, high)
    unseen = 1 - UNSEEN ** (1 / len(first))
    low, high = min(low, value - unseen), max(high, value + unseen)
    if min(first.min(), second.min()) >= 0 and max(first.max(), second.max()) <= 1:
        low, high = max(low, -1.0), min(high, 1.0)  # of shares no difference is larger
    floor = None
    if again is not None:
        repeated = np.asarray(again, dtype=np.float64)
        measured = ~np.isnan(repeated)
        floor = abs(float((repeated - second)[measured].mean())) if measured.any() else None
    return Effect(float(first.mean()), float(second.mean()), value, low, high, len(first), floor)


def judge(effect: Effect, tolerance: float, *, known: bool = False) -> Verdict:
    """Return whether an effect is a loss of more than `tolerance` (a share).

    LOST: the whole interval lies below minus the tolerance, and the loss is larger than the instrument's own noise.
    KEPT: the whole interval lies above it. With `known`, what the first model has must be more than the tolerance, as
    else there is nothing to lose.
    """
    if effect.high < -tolerance and -effect.value > (effect.floor or 0):
        return Verdict(LOST, tolerance)
    if known and effect.before <= tolerance:
        share = f"{100 * effect.before:.1f} %"
        return Verdict(UNDECIDED, tolerance, None, f"the base has {share}: give examples that it knows")
    if effect.low > -tolerance:
        return Verdict(KEPT, tolerance)
    margin, half = abs(effect.value + tolerance), max(effect.high - effect.value, effect.value - effect.low)
    if not margin or math.isnan(half):
        return Verdict(UNDECIDED, tolerance, None, "the difference lies at the tolerance itself: set another one")
    # A t interval shrinks with the root of the number of examples; one of examples without a change faster.
    by_root = effect.n * (half / margin) ** 2 if half > 1 - UNSEEN ** (1 / effect.n) + 1e-12 else 0.0
    by_unseen = math.log(UNSEEN) / math.log1p(-min(margin, 0.999))
    enough = max(by_root, by_unseen, 1)
    step = int(10 ** max(0, math.floor(math.log10(enough)) - 1))  # rounded up to two significant digits
    return Verdict(UNDECIDED, tolerance, math.ceil(enough / step) * step)


def together(verdicts: Sequence[Verdict]) -> str:
    """Return the outcome of several: LOST if one is, else UNDECIDED if one is, else KEPT."""
    found = {verdict.outcome for verdict in verdicts}
    return next((outcome for outcome in (LOST, UNDECIDED) if outcome in found), KEPT)
