"""The posterior of the buckets: a known prior is recovered, and a stated probability is a frequency."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from sftlens.data.buckets import BUCKETS
from sftlens.errors import DataError
from sftlens.mastery.quality import posterior as posteriors
from sftlens.mastery.quality.posterior import Prior
from sftlens.statistics import intervals


def with_uncertainty(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(**posteriors.uncertainty(table["hits"].to_numpy(), table["trials"].to_numpy()))


def population(prior: Prior, facts: int, trials: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return true rates and hits of facts drawn from a prior."""
    draw = np.random.default_rng(seed)
    rates = draw.beta(prior.alpha, prior.beta, facts) * (draw.random(facts) >= prior.zero)
    return rates, draw.binomial(trials, rates)


def true_buckets(rates: np.ndarray) -> np.ndarray:
    return np.ceil(rates * 4).astype(int)


@pytest.mark.parametrize("prior", [Prior(0.3, 0.5, 1.0), Prior(0.05, 2.0, 2.0), Prior(0.6, 1.0, 5.0)])
def test_a_known_prior_is_recovered(prior: Prior) -> None:
    _, hits = population(prior, 6000, 70)
    found = posteriors.fit(hits, np.full(6000, 70))
    assert found.zero == pytest.approx(prior.zero, abs=0.03)
    assert found.alpha == pytest.approx(prior.alpha, rel=0.15) and found.beta == pytest.approx(prior.beta, rel=0.15)


@pytest.mark.parametrize(
    ("prior", "trials"), [(Prior(0.3, 0.5, 1.0), 70), (Prior(0.4, 1.5, 300.0), 210), (Prior(0.2, 1.0, 1.0), 10)]
)
def test_a_stated_probability_is_a_frequency(prior: Prior, trials: int) -> None:
    """In each bin of the stated probability of a bucket, as many facts lie in the bucket as were stated."""
    rates, hits = population(prior, 20000, trials)
    tried = np.full(len(hits), trials)
    stated = posteriors.posterior(hits, tried, posteriors.fit(hits, tried))
    for number in range(5):
        chances, truth = stated[:, number], true_buckets(rates) == number
        for low in np.arange(0, 1, 0.1):
            inside = (chances >= low) & (chances < low + 0.1 + (low > 0.85))
            spread = np.sqrt((chances[inside] * (1 - chances[inside])).sum())
            # Half a percent for the error of the prior itself, which is estimated from the same hits.
            assert abs(truth[inside].sum() - chances[inside].sum()) < 4 * spread + 0.005 * inside.sum() + 3


def test_no_hit_in_210_is_no_proof_of_a_rate_of_zero() -> None:
    """Half of the facts are never completed, half in 0.5 % of the cases: of these, 35 % show no hit in 210."""
    prior = Prior(0.5, 50.0, 9950.0)
    rates, hits = population(prior, 20000, 210)
    assert (hits[rates > 0] == 0).mean() == pytest.approx(0.35, abs=0.02)
    tried = np.full(len(hits), 210)
    stated = posteriors.posterior(hits, tried, posteriors.fit(hits, tried))[hits == 0]
    assert stated[0, 0] == pytest.approx((rates[hits == 0] == 0).mean(), abs=0.03)
    assert 0.6 < stated[0, 0] < 0.85 and stated[0, 1] == pytest.approx(1 - stated[0, 0])


def test_the_interval_of_the_share_of_zeros_holds_the_truth() -> None:
    prior, held = Prior(0.3, 0.6, 1.2), 0
    for seed in range(12):
        _, hits = population(prior, 400, 20, seed)
        low, high = posteriors.zero_interval(hits, np.full(400, 20))
        held += low <= 0.3 <= high
    assert held >= 9  # 11.4 are expected


@pytest.mark.parametrize(
    ("hits", "trials"),
    [
        ([0] * 5, [70] * 5),
        ([0] * 3000, [70] * 3000),
        ([70] * 50, [70] * 50),
        ([35] * 50, [70] * 50),
        ([3], [70]),
        ([0, 1], [1, 1]),
        ([0, 4, 0], [10, 210, 0]),
        ([], []),
    ],
)
def test_degenerate_hits_give_finite_probabilities(hits: list[int], trials: list[int]) -> None:
    h, n = np.array(hits, dtype=int), np.array(trials, dtype=int)
    prior = posteriors.fit(h, n)
    assert 0 < prior.zero < 1 and np.isfinite([prior.alpha, prior.beta]).all()
    stated = posteriors.posterior(h, n, prior)
    assert stated.shape == (len(h), 5) and np.isfinite(stated).all()
    np.testing.assert_allclose(stated.sum(axis=1), 1)
    assert (stated[h > 0, 0] == 0).all() and (stated[h == 0, 0] > 0).all()
    low, high = posteriors.zero_interval(h, n)
    assert 0 <= low <= prior.zero <= high <= 1


def test_few_facts_without_a_hit_say_less_than_many() -> None:
    certain = [
        posteriors.posterior(np.zeros(1, int), np.array([70]), posteriors.fit(np.zeros(n, int), np.full(n, 70)))[0, 0]
        for n in (3, 30, 3000)
    ]
    assert certain[0] < 0.9 < certain[2] < 1 and certain == sorted(certain)


def test_a_fact_without_trials_has_the_prior_and_any_rate() -> None:
    table = pd.DataFrame({"hits": [0, 0, 5, 9], "trials": [0, 10, 10, 10]})
    made = with_uncertainty(table)
    assert (made["low"][0], made["high"][0]) == (0, 1)
    assert made["posterior_D0"][0] == pytest.approx(posteriors.fit(*made[["hits", "trials"]].to_numpy().T).zero)


def test_the_columns_of_a_table() -> None:
    _, hits = population(Prior(0.3, 0.5, 1.0), 300, 70)
    table = pd.DataFrame({"fact_id": [str(i) for i in range(300)], "hits": hits, "trials": 70}, index=range(7, 307))
    made = with_uncertainty(table)
    pd.testing.assert_frame_equal(made[table.columns.tolist()], table)
    assert made.columns.tolist()[3:] == ["low", "high", *posteriors.COLUMNS]
    assert made.dtypes[3:].eq(float).all()
    for row in made.itertuples():
        assert (row.low, row.high) == intervals.wilson(row.hits, row.trials)
    np.testing.assert_allclose(made[list(posteriors.COLUMNS)].sum(axis=1), 1)
    pd.testing.assert_frame_equal(with_uncertainty(made), made)
    assert with_uncertainty(table.head(0)).columns.tolist() == made.columns.tolist()


def test_the_interval_is_never_too_narrow_when_templates_differ() -> None:
    """Seven templates of very different rates, ten samples each: 95 % and more of the intervals hold the mean rate."""
    draw, rates = np.random.default_rng(1), np.array([0.0, 0.02, 0.05, 0.3, 0.6, 0.95, 1.0])
    hits = draw.binomial(10, rates, size=(4000, 7)).sum(axis=1)
    made = with_uncertainty(pd.DataFrame({"hits": hits, "trials": 70}))
    held = ((made["low"] <= rates.mean()) & (rates.mean() <= made["high"])).mean()
    assert held > 0.985  # much above 95 %: these hits vary less than binomial ones


def test_a_second_probe_is_predicted() -> None:
    prior = Prior(0.3, 0.5, 1.0)
    rates, hits = population(prior, 40000, 20)
    again = np.random.default_rng(9).binomial(20, rates)
    chances = posteriors.predictive(np.arange(3), np.full(3, 20), prior)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    for first in range(3):
        seen = np.bincount(again[hits == first], minlength=21) / (hits == first).sum()
        np.testing.assert_allclose(chances[first], seen, atol=0.03)
    mixed = posteriors.predictive(np.array([2, 2]), np.array([5, 20]), prior)
    assert (mixed[0, 6:] == 0).all()
    np.testing.assert_allclose(mixed.sum(axis=1), 1)


def test_impossible_hits_are_refused() -> None:
    with pytest.raises(DataError, match=r"row 1 .* 8 hits of 7 trials.*probe again"):
        with_uncertainty(pd.DataFrame({"hits": [1, 8], "trials": [7, 7]}))


def test_metrics_count_expected_facts() -> None:
    _, hits = population(Prior(0.3, 0.5, 1.0), 400, 70)
    table = pd.DataFrame({"split": ["train"] * 300 + ["test"] * 100, "hits": hits, "trials": 70})
    table["bucket"] = [f"D{n}" for n in true_buckets(hits / 70)]
    rows = posteriors.metrics(with_uncertainty(table))
    expected = [row for row in rows if row["metric"] == "posterior_facts"]
    assert [(row["split"], row["bucket"]) for row in expected] == [(s, b) for s in ("train", "test") for b in BUCKETS]
    assert sum(row["value"] for row in expected[:5]) == pytest.approx(300)
    zero = next(row for row in rows if row["metric"] == "prior_zero")
    assert zero["low"] < zero["value"] < zero["high"]
    certain = {row["bucket"]: row["value"] for row in rows if row["metric"] == "bucket_certainty"}
    assert certain["D0"] < 1 and all(0.5 < value <= 1 for value in certain.values())


def test_importing_it_loads_no_scipy() -> None:
    code = "import sys, sftlens.mastery.quality.posterior; print('scipy' in sys.modules, 'torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["False", "False"]
