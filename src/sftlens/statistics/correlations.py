"""Correlations with their 95 % intervals over independent pairs."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sftlens.statistics.intervals import Z95


def pearson(first: ArrayLike, second: ArrayLike) -> tuple[float, float, float]:
    """Return Pearson's r and its 95 % interval by Fisher's z; NaN for fewer than four pairs or a constant."""
    return _with_interval(np.asarray(first, dtype=float), np.asarray(second, dtype=float), 0.0)


def spearman(first: ArrayLike, second: ArrayLike) -> tuple[float, float, float]:
    """Return Spearman's rank correlation (ties share a rank) and its 95 % interval.

    Fisher's z with the variance (1 + r^2 / 2) / (n - 3) (Bonett & Wright, Psychometrika 65, 2000). NaN for fewer than
    four pairs or a constant.
    """
    return _with_interval(_ranks(first), _ranks(second), 0.5)


def row(metric: str, found: tuple[float, float, float], count: int, **place: Any) -> Sequence[dict[str, Any]]:
    """Return a correlation as a row of metrics, or no row where it is undefined."""
    value, low, high = found
    made = {"metric": metric, "value": value, "n": count, "low": low, "high": high, **place}
    return [] if math.isnan(value) else [made]


def _ranks(values: ArrayLike) -> np.ndarray:
    _, place, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place])


def _with_interval(first: np.ndarray, second: np.ndarray, extra: float) -> tuple[float, float, float]:
    if len(first) < 4 or not (np.ptp(first) and np.ptp(second)):
        return math.nan, math.nan, math.nan
    value = float(np.clip(np.corrcoef(first, second)[0, 1], -1, 1))
    if abs(value) == 1:
        return value, value, value
    half = Z95 * math.sqrt((1 + extra * value**2) / (len(first) - 3))
    centre = math.atanh(value)
    return value, math.tanh(centre - half), math.tanh(centre + half)
