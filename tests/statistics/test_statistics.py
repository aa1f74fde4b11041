"""Intervals against published and hand-computed values."""

import math

import pytest
from scipy import stats

from sftlens.statistics import intervals


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17, table I: score method without continuity correction.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 1 - 0.1611, 1.0),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilson(successes: int, trials: int, low: float, high: float) -> None:
    assert intervals.wilson(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_wilson_never_leaves_the_unit_interval() -> None:
    for trials in (1, 2, 9, 1000):
        for successes in {0, 1, trials}:
            low, high = intervals.wilson(successes, trials)
            assert 0 <= low <= successes / trials <= high <= 1


def test_macro_weighs_buckets_equally() -> None:
    shares, sizes = [0.1, 0.2, 0.3, 0.4, 0.5], [11, 1001, 21, 31, 41]
    value, low, high = intervals.macro(shares, sizes)
    error = math.sqrt((0.09 / 10 + 0.16 / 1000 + 0.21 / 20 + 0.24 / 30 + 0.25 / 40) / 25)
    assert value == pytest.approx(0.3)
    parts = [(0.09, 10), (0.16, 1000), (0.21, 20), (0.24, 30), (0.25, 40)]
    df = 625 * error**4 / sum((v / f) ** 2 / f for v, f in parts)
    half = stats.t.ppf(0.975, df) * error
    assert (low, high) == pytest.approx((0.3 - half, 0.3 + half))


def test_macro_stays_in_the_unit_interval() -> None:
    assert intervals.macro([1.0] * 5, [2] * 5) == (1.0, 1.0, 1.0)
    assert intervals.macro([0.5] * 5, [2] * 5)[1] >= 0
    assert intervals.macro([1, 1, 1, 1, 0.9], [2] * 5)[2] == 1.0


def test_macro_knows_nothing_of_the_spread_of_one_question() -> None:
    assert intervals.macro([1.0] * 5, [9, 9, 1, 9, 9]) == (1.0, 0.0, 1.0)


def test_mean_has_a_t_interval() -> None:
    value, low, high = intervals.mean([1.0, 2.0, 3.0, 4.0])
    half = stats.t.ppf(0.975, 3) * math.sqrt((5 / 3) / 4)
    assert (value, low, high) == pytest.approx((2.5, 2.5 - half, 2.5 + half))


def test_one_value_has_no_interval() -> None:
    assert intervals.mean([7.0]) == (7.0, None, None)
