"""Mastery against exposure, and the rank correlation that goes with it."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sftlens.errors import DataError
from sftlens.mastery.quality import exposure
from sftlens.statistics import correlations


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a mastery table and exposures, in which train and test ask one question with different exposures."""
    mastery = pd.DataFrame(
        {
            "fact_id": ["train/0", "train/1", "train/2", "train/3", "train/4", "test/0"],
            "question": ["a?", "b?", "c?", "d?", "e?", "a?"],
            "split": ["train"] * 5 + ["test"],
            "mastery": [0.0, 0.2, 0.4, 0.9, 0.8, 0.5],
        }
    )
    exposures = pd.DataFrame(
        {
            "question": ["e?", "d?", "c?", "b?", "a?", "a?", "z?"],
            "role": ["train"] * 5 + ["test", "extra"],
            "exposure": [40, 33, 3, 2, 0, 1, 12],
        }
    )
    return mastery, exposures


def test_facts_find_their_exposure_by_question_and_split() -> None:
    table = exposure.joined(*tables())
    assert table["exposure"].tolist() == [0, 2, 3, 33, 40, 1]


def test_facts_of_another_world_are_refused() -> None:
    mastery, exposures = tables()
    with pytest.raises(DataError, match=r"'train/3' .* no exposure, with 0 more; give the exposures.parquet"):
        exposure.joined(mastery, exposures.drop(index=1))


def test_bins_double() -> None:
    assert exposure.bins([0, 1, 2, 3, 4, 7, 8, 40]) == [
        "0", "1", "2-3", "2-3", "4-7", "4-7", "8-15", "32-63"
    ]  # fmt: skip


def test_each_bin_has_its_mean() -> None:
    rows = exposure.metrics(exposure.joined(*tables()))
    found = {(row["split"], row.get("bucket")): row for row in rows}
    assert list(found) == [
        ("train", "exposure 0"), ("train", "exposure 2-3"), ("train", "exposure 32-63"), ("train", None),
        ("test", "exposure 1"),
    ]  # fmt: skip
    middle = found["train", "exposure 2-3"]
    assert middle["value"] == pytest.approx(0.3) and middle["n"] == 2 and middle["low"] < 0.3 < middle["high"]
    assert found["train", None]["value"] == pytest.approx(0.9)
    assert all(0 <= row["low"] <= row["high"] <= 1 for row in rows if "bucket" in row and row["n"] > 1)


def test_correlations_are_those_of_scipy_with_ties() -> None:
    draw = np.random.default_rng(0)
    first = draw.integers(0, 6, 200)
    second = first + draw.integers(0, 5, 200)
    assert correlations.spearman(first, second)[0] == pytest.approx(stats.spearmanr(first, second).statistic)
    known = stats.pearsonr(first, second)
    interval = known.confidence_interval(0.95)
    assert correlations.pearson(first, second) == pytest.approx((known.statistic, interval.low, interval.high))


def test_the_interval_of_the_rank_correlation_holds_the_truth() -> None:
    draw = np.random.default_rng(1)
    truth = 6 / np.pi * np.arcsin(0.7 / 2)  # of a bivariate normal with correlation 0.7
    pairs = draw.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], size=(400, 60))
    ends = [correlations.spearman(x[:, 0], x[:, 1])[1:] for x in pairs]
    assert 0.92 < np.mean([low <= truth <= high for low, high in ends]) < 0.98


@pytest.mark.parametrize(("first", "second"), [([1, 2, 3], [1, 2, 3]), ([1, 1, 1, 1], [1, 2, 3, 4])])
def test_a_correlation_of_nothing_is_no_row(first: list[int], second: list[int]) -> None:
    assert list(correlations.row("x", correlations.spearman(first, second), 4)) == []


def test_a_perfect_correlation_is_its_own_interval() -> None:
    assert correlations.pearson([1, 2, 3, 4], [2, 4, 6, 8]) == pytest.approx((1, 1, 1))
