"""Intervals against published and hand-computed values."""

import math

import pytest

from sftlens import statistics


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
    assert statistics.wilson(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_wilson_never_leaves_the_unit_interval() -> None:
    for trials in (1, 2, 9, 1000):
        for successes in {0, 1, trials}:
            low, high = statistics.wilson(successes, trials)
            assert 0 <= low <= successes / trials <= high <= 1


def test_macro_weighs_buckets_equally() -> None:
    shares, sizes = [0.1, 0.2, 0.3, 0.4, 0.5], [11, 1001, 21, 31, 41]
    value, low, high = statistics.macro(shares, sizes)
    error = math.sqrt((0.09 / 10 + 0.16 / 1000 + 0.21 / 20 + 0.24 / 30 + 0.25 / 40) / 25)
    assert value == pytest.approx(0.3)
    assert (low, high) == pytest.approx((0.3 - 1.959964 * error, 0.3 + 1.959964 * error), abs=1e-7)


def test_macro_stays_in_the_unit_interval() -> None:
    assert statistics.macro([1.0] * 5, [1] * 5) == (1.0, 1.0, 1.0)
    assert statistics.macro([0.5] * 5, [2] * 5)[1] >= 0
    assert statistics.macro([1, 1, 1, 1, 0.9], [2] * 5)[2] == 1.0


def test_mean_has_a_normal_interval() -> None:
    value, low, high = statistics.mean([1.0, 2.0, 3.0, 4.0])
    half = 1.959964 * math.sqrt((5 / 3) / 4)
    assert (value, low, high) == pytest.approx((2.5, 2.5 - half, 2.5 + half), abs=1e-6)
    assert statistics.mean([7.0]) == (7.0, 7.0, 7.0)
