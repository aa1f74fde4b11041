"""Worlds as the unit: means, intervals and SD over worlds, and how many worlds a difference would need."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sftlens.statistics import worlds


def test_rows_are_means_over_the_worlds_that_have_them() -> None:
    def table(*values: float) -> pd.DataFrame:
        rows = [("tiny", "difference (points)", name, "8", value) for name, value in zip("abc", values, strict=False)]
        return pd.DataFrame(rows, columns=[*worlds.LABELS, "Estimate"])

    found = worlds.over_worlds([table(1, 5, math.nan), table(3, math.nan, math.nan), table(8, 7, math.nan)])
    assert found["Series"].tolist() == ["a", "b", "c"] and found[worlds.WORLDS].tolist() == [3, 2, 0]
    a, b, c = (row for _, row in found.iterrows())
    low, high = stats.t.interval(0.95, 2, 4, stats.sem([1, 3, 8]))
    assert (a["Estimate"], a["Low"], a["High"]) == pytest.approx((4, low, high))
    assert a[worlds.SD] == pytest.approx(np.std([1, 3, 8], ddof=1)) and a["Scope"] == "over 3 worlds"
    assert (b["Estimate"], b[worlds.SD]) == pytest.approx((6, math.sqrt(2))) and math.isnan(c["Estimate"])
    assert a[worlds.NEEDED] == worlds.needed(a[worlds.SD])
    alone = worlds.over_worlds([table(1.0)]).iloc[0]
    assert alone["Estimate"] == 1 and math.isnan(alone["Low"]) and pd.isna(alone[worlds.NEEDED])
    assert (alone["Scope"], c["Scope"]) == ("one world", "no world")


def test_a_null_model_keeps_its_band_and_only_points_are_counted_in_worlds() -> None:
    def table(low: float, high: float) -> pd.DataFrame:
        rows = [
            ("tiny", "cosine", "update", "D0", (low + high) / 2, math.nan, math.nan, "over seeds"),
            ("tiny", "cosine", "permuted", "D0", (low + high) / 2, low, high, worlds.NULL),
        ]
        return pd.DataFrame(rows, columns=[*worlds.LABELS, "Estimate", "Low", "High", "Scope"])

    update, null = (row for _, row in worlds.over_worlds([table(-3, 5), table(-5, 7)]).iterrows())
    assert null[["Estimate", "Low", "High", "Scope"]].tolist() == [1, -4, 6, worlds.NULL]
    assert update["Scope"] == "over 2 worlds" and update[worlds.SD] == 0 and pd.isna(update[worlds.NEEDED])
    assert pd.isna(null[worlds.SD]) and pd.isna(null[worlds.NEEDED])


def test_so_many_worlds_find_a_difference_with_the_power_that_is_asked_for() -> None:
    assert worlds.needed(0.0) == 2 and math.isnan(worlds.needed(math.nan))
    assert worlds.needed(2.0) == worlds.needed(1.0, difference=0.5) == 34  # 7.85 SD^2 = 31.4, and t for z
    for sd in (0.5, 1.0, 3.0):
        n = int(worlds.needed(sd))
        power = [1 - stats.nct.cdf(stats.t.ppf(0.975, m - 1), m - 1, math.sqrt(m) / sd) for m in (n - 1, n)]
        assert power[1] > 0.79 and (power[0] < 0.81)
