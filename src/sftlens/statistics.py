"""Intervals of accuracies and means.

For a single model only its questions vary: the interval is the question-only one, "this model only".
"""

import math
from collections.abc import Sequence

Z95 = 1.959963984540054


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

    SE^2 = sum over the B buckets of p (1 - p) / (N - 1) / B^2: the buckets' questions are independent draws.
    """
    count = len(shares)
    mean = sum(shares) / count
    variance = sum(p * (1 - p) / max(1, n - 1) for p, n in zip(shares, sizes, strict=True)) / count**2
    half = Z95 * math.sqrt(variance)
    return mean, max(0.0, mean - half), min(1.0, mean + half)


def mean(values: Sequence[float]) -> tuple[float, float, float]:
    """Return a mean and its 95 % normal interval; the interval is the mean itself for one value."""
    count = len(values)
    centre = math.fsum(values) / count
    if count < 2:
        return centre, centre, centre
    variance = math.fsum((v - centre) ** 2 for v in values) / (count - 1)
    half = Z95 * math.sqrt(variance / count)
    return centre, centre - half, centre + half
