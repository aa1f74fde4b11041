"""Intervals of accuracies and means: two-sided, 95 % unless a level is given.

What stands here speaks of one model: only its questions vary, "this model only". Several seeds: `crossed`.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

Z95 = 1.959963984540054


class Interval(NamedTuple):
    """A standard error, its degrees of freedom and the t interval; all NaN where one cannot be estimated."""

    se: float
    df: float
    low: float
    high: float


def satterthwaite(value: float, parts: Sequence[tuple[float, float]], level: float = 0.95) -> Interval:
    """Return the t interval of an estimate whose variance is a sum of independently estimated parts.

    df = (sum V)^2 / sum(V^2 / df_i) (Satterthwaite 1946, Biometrics Bulletin 2, 110-114).

    Args:
        value: the estimate.
        parts: variance and degrees of freedom of each part; a NaN variance (one that cannot be estimated)
            makes the interval NaN. Where all are zero the interval is the value itself, with df infinite.
        level: chance with which the interval is to cover the true value.
    """
    from scipy.special import stdtrit  # the quantile behind scipy.stats.t, at a fifth of the start-up time

    variance = math.fsum(v for v, _ in parts)
    if math.isnan(variance) or math.isnan(value):
        return Interval(math.nan, math.nan, math.nan, math.nan)
    if variance == 0:
        return Interval(0.0, math.inf, value, value)
    df = variance**2 / math.fsum(v * v / f for v, f in parts if v > 0)
    half = float(stdtrit(df, (1 + level) / 2)) * math.sqrt(variance)
    return Interval(math.sqrt(variance), df, value - half, value + half)


def within_unit(bounds: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Return (low, high) cut to [0, 1]; a bound that could not be estimated is None."""
    low, high = (None if x is None or math.isnan(x) else min(1.0, max(0.0, x)) for x in bounds)
    return low, high


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a share; (0, 1) without trials."""
    if not trials:
        return 0.0, 1.0
    share, z2 = successes / trials, Z95 * Z95
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z95 * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials)) / (1 + z2 / trials)
    # Exact at the ends, where rounding would leave the share itself just outside.
    return centre - half if successes else 0.0, centre + half if successes < trials else 1.0


def macro(shares: Sequence[float], sizes: Sequence[int]) -> tuple[float, float, float]:
    """Return the unweighted mean of bucket accuracies and its 95 % interval over questions.

    SE^2 = sum over the B buckets of p (1 - p) / (N - 1) / B^2: the buckets' questions are independent draws. The
    interval is `crossed.accuracy`'s for one seed, cut to [0, 1]; all of [0, 1] where a bucket has one question, whose
    variance is unknown.
    """
    count = len(shares)
    value = sum(shares) / count
    if min(sizes) < 2:
        return value, 0.0, 1.0
    parts = [(p * (1 - p) / (n - 1) / count**2, n - 1) for p, n in zip(shares, sizes, strict=True)]
    found = satterthwaite(value, parts)
    return value, max(0.0, found.low), min(1.0, found.high)


def mean(values: Sequence[float], level: float = 0.95) -> tuple[float, float | None, float | None]:
    """Return a mean and its t interval of a level; a single value has none (None)."""
    count = len(values)
    centre = math.fsum(values) / count
    if count < 2:
        return centre, None, None
    variance = math.fsum((v - centre) ** 2 for v in values) / (count - 1)
    found = satterthwaite(centre, [(variance / count, count - 1)], level)
    return centre, found.low, found.high


def mean_row(values: Sequence[float], *, share: bool = False, **place: Any) -> dict[str, Any]:
    """Return a mean and its 95 % t interval as a row of metrics; that of a `share` is cut to [0, 1]."""
    value, *bounds = mean(values)
    low, high = within_unit(bounds) if share else bounds
    return {**place, "value": value, "n": len(values), "low": low, "high": high}
