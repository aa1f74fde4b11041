"""Test-retest reliability of mastery: facts probed a second time with other random numbers."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from sftlens.data import tables
from sftlens.data.buckets import BUCKETS
from sftlens.errors import DataError
from sftlens.mastery import mastery_table
from sftlens.mastery.completions import Probe
from sftlens.mastery.quality import posterior as posteriors
from sftlens.statistics import correlations, intervals

COLUMNS = (
    "fact_id", "split", "relation", "hits", "trials", "mastery", "bucket",
    "retest_hits", "retest_mastery", "retest_bucket", "expected_agreement", "expected_within_one",
)  # fmt: skip
RESAMPLES = 2000


def probe_again(probe: Probe, table: pd.DataFrame, count: int) -> pd.DataFrame:
    """Probe a sample of facts again, as they were probed but with the next seed.

    `probe` is that of the first time, without `of`: the seed after that of its settings gives new samples; `table` is
    the mastery table, all facts; where that is of an adaptive probe, the second one is in full. Returns COLUMNS, one
    row a fact; the last two are what the first probe let one expect (see `expected`). Raises DataError where the
    second probe has another number of trials than the first, so that they measure different things.
    """
    chosen = tables.fixed_sample(table, count, "retest\0")
    other = probe.settings.model_copy(update={"seed": probe.settings.seed + 1})
    again = mastery_table.probe(replace(probe, settings=other), chosen)
    adaptive = "template_trials" in table
    if not adaptive and (again["trials"] != chosen["trials"]).any():
        raise DataError(
            f"the mastery table has {chosen['trials'].iloc[0]} trials a fact, the second probe "
            f"{again['trials'].iloc[0]}; give the templates and probing settings that the table was made with, or "
            "leave the second probe out (retest: 0)"
        )
    if adaptive:
        chances = expected_of_full(chosen)
    else:
        prior = posteriors.fit(table["hits"].to_numpy(), table["trials"].to_numpy())
        chances = expected(chosen["hits"].to_numpy(), chosen["trials"].to_numpy(), prior)
    added = {f"retest_{name}": again[name] for name in ("hits", "mastery", "bucket")}
    found = chosen.assign(**added, expected_agreement=chances[0], expected_within_one=chances[1])
    return found[list(COLUMNS)]


def expected(hits: np.ndarray, trials: np.ndarray, prior: posteriors.Prior) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities that a second probe gives the same bucket, and one at most one bucket away.

    They follow from the posterior of each fact's rate; float64 [facts] each.
    """
    chances = posteriors.predictive(hits, trials, prior)
    first = _numbers(hits, trials)
    second = _numbers(np.minimum(np.arange(chances.shape[1]), trials[:, None]), trials[:, None])
    return _same_and_near(chances, np.abs(second - first[:, None]))


def expected_of_full(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the same probabilities for facts of an adaptive probe, from their posteriors (`mastery.adaptive`)."""
    chances = table[list(posteriors.COLUMNS)].to_numpy()
    first = table["bucket"].map(BUCKETS.index).to_numpy()
    return _same_and_near(chances, np.abs(np.arange(len(BUCKETS)) - first[:, None]))


def _same_and_near(chances: np.ndarray, apart: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (chances * (apart == 0)).sum(axis=1), (chances * (apart <= 1)).sum(axis=1)


def agreement(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Return how well two probes agree, from the number of facts by first and second bucket, [..., 5, 5].

    `retest_agreement` and `retest_within_one`: shares of facts in the same bucket, and at most one apart; `kappa`
    (Cohen, Educ. Psychol. Meas. 20, 1960) and `kappa_quadratic` (Cohen, Psychol. Bull. 70, 1968): agreement beyond what
    the two margins alone give, the latter with squared distances. NaN where all facts lie in one bucket.
    """
    count, bucket = confusion.sum(axis=(-2, -1)), np.arange(confusion.shape[-1])
    apart = np.abs(bucket[:, None] - bucket)
    chance = confusion.sum(axis=-1, keepdims=True) * confusion.sum(axis=-2, keepdims=True) / count[..., None, None]

    def beyond_chance(cost: np.ndarray) -> np.ndarray:
        by_chance = (chance * cost).sum(axis=(-2, -1))
        with np.errstate(invalid="ignore"):
            return np.asarray(1 - (confusion * cost).sum(axis=(-2, -1)) / np.where(by_chance > 0, by_chance, np.nan))

    return {
        "retest_agreement": confusion[..., apart == 0].sum(axis=-1) / count,
        "retest_within_one": confusion[..., apart <= 1].sum(axis=-1) / count,
        "kappa": beyond_chance((apart > 0).astype(float)),
        "kappa_quadratic": beyond_chance(apart.astype(float) ** 2),
    }


def metrics(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the agreement of the two probes as rows of metrics, with 95 % intervals over facts.

    Besides `agreement` (shares: Wilson; kappas: percentile bootstrap over facts): `retest_correlation` (Pearson, of R),
    `retest_difference` (mean of second minus first R), and `expected_agreement` and `expected_within_one`, what the
    posterior predicts; low and high are then where the observed share would lie in 95 % of second probes. No facts, no
    rows.
    """
    if table.empty:
        return []
    confusion = np.zeros((len(BUCKETS), len(BUCKETS)))
    np.add.at(confusion, (table["bucket"].map(BUCKETS.index), table["retest_bucket"].map(BUCKETS.index)), 1)
    rows: list[dict[str, Any]] = []
    count = len(table)

    def add(metric: str, value: float, low: float | None, high: float | None) -> None:
        rows.append({"metric": metric, "value": value, "n": count, "low": low, "high": high})

    found = agreement(confusion)
    for name in ("retest_agreement", "retest_within_one"):
        add(name, float(found[name]), *intervals.wilson(round(float(found[name]) * count), count))
    draws = np.random.default_rng(0).multinomial(count, (confusion / count).ravel(), size=RESAMPLES)
    drawn = agreement(draws.reshape(-1, *confusion.shape))
    for name in ("kappa", "kappa_quadratic"):
        if not np.isnan(found[name]):
            add(name, float(found[name]), *np.nanquantile(drawn[name], (0.025, 0.975)).tolist())
    rows += correlations.row(
        "retest_correlation", correlations.pearson(table["mastery"], table["retest_mastery"]), count
    )
    add("retest_difference", *intervals.mean((table["retest_mastery"] - table["mastery"]).tolist()))
    for name in ("expected_agreement", "expected_within_one"):
        chances = table[name].to_numpy()
        value, spread = float(chances.mean()), math.sqrt(float((chances * (1 - chances)).sum())) / count
        add(name, value, max(0.0, value - intervals.Z95 * spread), min(1.0, value + intervals.Z95 * spread))
    return rows


def _numbers(hits: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """Number of the bucket, 0 to 4; in whole numbers, so that no rounding moves an edge."""
    return np.asarray(-(-4 * hits // np.maximum(trials, 1)))
