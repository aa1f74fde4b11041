"""How sure the mastery of a fact is: an interval of its rate, and posterior probabilities of the five buckets.

The hits of a fact are a sample: one with a true rate of 0.5 % shows none in 35 % of probes of 210 completions. The
population of rates is described by a zero-inflated beta distribution: a share `zero` of the facts never produces
its object, the rates of the others are Beta(alpha, beta). It is estimated per model from the hits of all probed facts
(empirical Bayes: Efron, Large-Scale Inference, 2010; beta-binomial: Skellam, JRSS B 10, 1948), and turns each
fact's hits into a posterior.

Interval and posterior take the completions of a fact for draws with one rate. They are drawn template by template,
an equal number each, and where the templates' rates differ the sum varies less than a binomial one with their mean
(Hoeffding, Ann. Math. Stat. 27, 1956): both are a little too wide, never too narrow, for the mean rate over *these*
templates. What other templates would say is not in them (see mastery_variance). How many of the facts without a hit
have a rate of exactly zero rests on the shape of the beta distribution near zero; `zero_interval` and a second probe
(mastery_retest) show how far it can be trusted.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sftlens.data.buckets import BUCKETS
from sftlens.errors import DataError
from sftlens.statistics import intervals

COLUMNS = tuple(f"posterior_{name}" for name in BUCKETS)
EDGES = (0.0, 0.25, 0.5, 0.75, 1.0)
CHI2_95 = 3.841458820694124
"""95 % point of chi-square with one degree of freedom."""
_BOUNDS = ((-9.0, 9.0), (-7.0, 10.0), (-7.0, 10.0))
_STARTS = ((-1.0, -0.7, 0.0), (1.0, 0.0, 0.0), (-3.0, -1.5, -0.5), (0.0, 1.0, 2.0))


@dataclass(frozen=True)
class Prior:
    """Zero-inflated beta distribution of the rates of a model's facts."""

    zero: float
    """Share of facts with rate 0, in (0, 1)."""
    alpha: float
    """First shape of the others' Beta."""
    beta: float
    """Second shape of the others' Beta."""


def fit(hits: np.ndarray, trials: np.ndarray) -> Prior:
    """Return the prior with the largest likelihood of the hits of all facts.

    The likelihood carries a penalty that weighs as much as one fact, sqrt(zero (1 - zero)) and a normal of SD 3 on
    log alpha and log beta: where the hits say nothing (all are 0, or all are equal, or there are few facts) the
    prior stays finite, and no posterior is exactly 0 or 1 for want of data. `hits` and `trials` are integers [facts];
    facts without trials do not enter.
    """
    return _prior(_best(*_distinct(hits, trials))[0])


def zero_interval(hits: np.ndarray, trials: np.ndarray) -> tuple[float, float]:
    """Return the 95 % profile-likelihood interval of the prior's share of facts with rate 0.

    It is wide where a rate of zero and a small one cannot be told apart: few trials, or few facts.
    """
    from scipy.optimize import brentq

    counts = _distinct(hits, trials)
    point, lowest = _best(*counts)

    def excess(logit: float) -> float:
        return 2 * (_best(*counts, zero=logit, starts=(tuple(point),))[1] - lowest) - CHI2_95

    ends = []
    for end in _BOUNDS[0]:
        inside = point[0] == end or excess(end) <= 0
        ends.append(float(end == _BOUNDS[0][1]) if inside else _logistic(brentq(excess, *sorted((point[0], end)))))
    return ends[0], ends[1]


def posterior(hits: np.ndarray, trials: np.ndarray, prior: Prior) -> np.ndarray:
    """Return the probabilities of the buckets given the hits, float64 [facts, 5]; each row sums to 1.

    D0: the rate is 0; D1 to D4: it lies in (0, 1/4], (1/4, 1/2], (1/2, 3/4], (3/4, 1]. Without trials a row is
    the prior.
    """
    from scipy.special import betainc

    alpha, beta = hits + prior.alpha, trials - hits + prior.beta
    below = betainc(alpha[:, None], beta[:, None], np.array(EDGES))
    zero = zero_probability(hits, trials, prior)
    table = np.column_stack([zero, (1 - zero)[:, None] * np.diff(below, axis=1)])
    return np.asarray(table / table.sum(axis=1, keepdims=True))


def zero_probability(hits: np.ndarray, trials: np.ndarray, prior: Prior) -> np.ndarray:
    """Return the posterior probability that a rate is 0, float64 [facts]: 0 after any hit."""
    drawn = np.exp(_log_pmf(hits, trials, prior.alpha, prior.beta))
    unseen = prior.zero / (prior.zero + (1 - prior.zero) * drawn)
    return np.where(hits == 0, unseen, 0.0)


def predictive(hits: np.ndarray, trials: np.ndarray, prior: Prior) -> np.ndarray:
    """Return the probabilities of 0, 1, ... hits of a second probe given a first one, float64 [facts, n + 1].

    `trials` int [facts] are those of either probe, n is the largest; what a fact cannot reach has probability 0.
    """
    again = np.arange(int(trials.max()) + 1)
    alpha, beta = (hits + prior.alpha)[:, None], (trials - hits + prior.beta)[:, None]
    possible = again <= trials[:, None]
    reached = np.where(possible, again, 0)
    chances = np.where(possible, np.exp(_log_pmf(reached, trials[:, None], alpha, beta)), 0.0)
    zero = zero_probability(hits, trials, prior)[:, None]
    return np.asarray(zero * (again == 0) + (1 - zero) * chances)


def uncertainty(hits: np.ndarray, trials: np.ndarray) -> dict[str, np.ndarray]:
    """Return columns with an interval of each fact's rate and posterior probabilities of its bucket.

    The prior is fitted to the hits and trials, integers [facts], of all facts that one model was probed on. The columns
    are `low` and `high` (95 % Wilson interval) and `posterior_D0` .. `posterior_D4` (sum 1), all float64 [facts].
    Raises DataError where hits do not lie between 0 and trials.
    """
    wrong = np.flatnonzero((hits < 0) | (hits > trials))
    if len(wrong):
        raise DataError(
            f"row {wrong[0]} of the mastery table has {hits[wrong[0]]} hits of {trials[wrong[0]]} trials; hits must "
            "lie between 0 and trials: probe again, or mend the imported table"
        )
    # Facts with the same hits and trials share a posterior: it is computed once for each pair.
    pairs, place = np.unique(np.column_stack([hits, trials]), axis=0, return_inverse=True)
    ends = np.array([intervals.wilson(int(h), int(n)) for h, n in pairs]).reshape(-1, 2)
    shares = posterior(pairs[:, 0], pairs[:, 1], fit(hits, trials))
    both = np.hstack([ends, shares])[place.ravel()]
    return dict(zip(("low", "high", *COLUMNS), both.T, strict=True))


def metrics(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return what the posterior says of a mastery table with the columns of `uncertainty`, as rows of metrics.

    `prior_zero` (with its profile interval), `prior_alpha`, `prior_beta`; per split and bucket `posterior_facts`, the
    expected number of facts; per bucket `bucket_certainty`, the mean posterior of the bucket that its facts are in.
    """
    hits, trials = table["hits"].to_numpy(), table["trials"].to_numpy()
    prior, ends = fit(hits, trials), zero_interval(hits, trials)
    rows: list[dict[str, Any]] = [
        {"metric": "prior_zero", "value": prior.zero, "n": len(table), "low": ends[0], "high": ends[1]},
        {"metric": "prior_alpha", "value": prior.alpha, "n": len(table)},
        {"metric": "prior_beta", "value": prior.beta, "n": len(table)},
    ]
    return rows + metrics_of_buckets(table)


def metrics_of_buckets(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return `posterior_facts` and `bucket_certainty` of `metrics`; what an adaptive probe's posterior also gives."""
    rows: list[dict[str, Any]] = []
    for split, part in table.groupby("split", sort=False):
        for name, column in zip(BUCKETS, COLUMNS, strict=True):
            place = {"split": split, "bucket": name, "metric": "posterior_facts"}
            rows.append({**place, "value": float(part[column].sum()), "n": len(part)})
    for name, column in zip(BUCKETS, COLUMNS, strict=True):
        certain = table.loc[table["bucket"] == name, column]
        if len(certain):
            place = {"bucket": name, "metric": "bucket_certainty"}
            rows.append({**place, "value": float(certain.mean()), "n": len(certain)})
    return rows


def _distinct(hits: np.ndarray, trials: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct (hits, trials) of facts with trials, and how many facts have each."""
    pairs, facts = np.unique(np.column_stack([hits, trials]), axis=0, return_counts=True)
    probed = pairs[:, 1] > 0
    return pairs[probed], facts[probed]


def _best(
    pairs: np.ndarray,
    facts: np.ndarray,
    zero: float | None = None,
    starts: tuple[tuple[float, ...], ...] = _STARTS,
) -> tuple[np.ndarray, float]:
    """Return (logit zero, log alpha, log beta) and the least cost; `zero` holds the first one fast."""
    from scipy.optimize import minimize

    hits, trials = pairs.T

    def cost(point: np.ndarray) -> float:
        """Minus the penalised log-likelihood of the hits."""
        prior = _prior(point)
        drawn = np.log1p(-prior.zero) + _log_pmf(hits, trials, prior.alpha, prior.beta)
        likelihood = np.where(hits == 0, np.logaddexp(np.log(prior.zero), drawn), drawn)
        penalty = -0.5 * np.log(prior.zero * (1 - prior.zero)) + (point[1] ** 2 + point[2] ** 2) / 18
        return float(penalty - (facts * likelihood).sum())

    bounds = _BOUNDS if zero is None else ((zero, zero), *_BOUNDS[1:])
    held = [np.array([start[0] if zero is None else zero, *start[1:]]) for start in starts]
    found = [minimize(cost, start, method="L-BFGS-B", bounds=bounds) for start in held]
    best = min(found, key=lambda result: float(result.fun))
    return np.asarray(best.x), float(best.fun)


def _prior(point: np.ndarray) -> Prior:
    return Prior(_logistic(float(point[0])), float(np.exp(point[1])), float(np.exp(point[2])))


def _logistic(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))


def _log_pmf(hits: np.ndarray, trials: np.ndarray, alpha: Any, beta: Any) -> np.ndarray:
    """Logarithm of the beta-binomial probability of `hits` of `trials`."""
    from scipy.special import betaln

    ways = -np.log1p(trials) - betaln(trials - hits + 1, hits + 1)
    return np.asarray(ways + betaln(hits + alpha, trials - hits + beta) - betaln(alpha, beta))
