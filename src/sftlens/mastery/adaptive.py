"""When a fact is sampled enough: what is known of its rates, and whether a full probe would make its bucket surer.

For each template t the teacher-forced probability l_t that the model answers at once (at the temperature of the
sampling) bounds the rate p_t of completions with the answer from below: a completion that begins so is a hit. So
p_t = l_t + (1 - l_t) q, and samples only have to tell q, the rate of hits among the other completions. What q may be
is learned from facts that are probed in full (empirical Bayes: Efron, Large-Scale Inference, 2010): logit q has
Student's distribution about a line in logit(mean l).

From the posterior of q follows what a full probe, `samples` of every template, would find: D0 with probability
prod (1 - p_t)^samples, else a number of hits that is normal with mean samples * sum p_t and variance samples * sum
p_t (1 - p_t) (Hoeffding, Ann. Math. Stat. 27, 1956: never more than binomial). The bucket is the median of that. A fact
is decided when a full probe finds this bucket more probably than two full probes agree, by a margin. That holds at
whatever time it stops: a posterior does not depend on why sampling ended.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sftlens.data.buckets import BUCKETS, bucket
from sftlens.mastery.quality.posterior import COLUMNS

GRID = np.arange(-16.0, 8.0, 0.125)
"""Values of logit q over which posteriors are summed."""
FREEDOM = 4
"""Degrees of freedom of Student's distribution: some facts are known in other words than those of the sentence."""
INNER_EDGES = (0.25, 0.5, 0.75)
_RATES = 1 / (1 + np.exp(-GRID))
_CHUNK = 128
"""Facts whose posteriors are computed at once: 128 facts x 192 values x 21 templates are 4 MB."""
_CENTRE, _WIDTH = np.array([-2.0, 0.5, 0.5]), np.array([3.0, 1.0, 1.0])
"""The normal penalty on level, slope and log spread: where facts say nothing, the distribution of q stays wide."""


@dataclass(frozen=True)
class Calibration:
    """What q may be: logit q = level + slope * logit(mean l) + spread * t, where t is Student's."""

    level: float
    slope: float
    spread: float


@dataclass(frozen=True)
class Evidence:
    """What is known of some facts of equally many templates."""

    probabilities: np.ndarray
    """float64 [facts, templates]: that the model answers at once."""
    hits: np.ndarray
    """int64 [facts, templates]."""
    trials: np.ndarray
    """int64 [facts, templates]."""

    def only(self, facts: np.ndarray | slice) -> "Evidence":
        """Return what is known of some of the facts."""
        return Evidence(self.probabilities[facts], self.hits[facts], self.trials[facts])


@dataclass(frozen=True)
class Judged:
    """What follows for each fact."""

    chances: np.ndarray
    """float64 [facts, 5]: probability that a full probe finds each bucket; each row sums to 1."""
    agreement: np.ndarray
    """float64 [facts]: expected agreement of two full probes."""
    mean: np.ndarray
    """float64 [facts]: posterior mean of the rate, over all templates."""
    low: np.ndarray
    """float64 [facts]: lower end of the 95 % posterior interval of the rate."""
    high: np.ndarray
    """float64 [facts]: its upper end."""

    @property
    def bucket(self) -> np.ndarray:
        """Number of the bucket, int64 [facts]: the median of what a full probe finds."""
        return median(self.chances)

    def decided(self, margin: float) -> np.ndarray:
        """Whether a full probe would make the bucket no surer, bool [facts], by a margin of variances.

        Of the variance over the posterior: without a margin the expected agreement over all facts is at least that of
        two full probes, but that on a bucket of few and rarely known facts may fall short of it.
        """
        own = np.take_along_axis(self.chances, self.bucket[:, None], axis=1)[:, 0]
        variance = self.agreement - (self.chances**2).sum(axis=1)
        return np.asarray(own >= self.agreement + margin * variance)


def median(chances: np.ndarray) -> np.ndarray:
    """Return the number of the median bucket of probabilities [facts, 5], int64 [facts]."""
    return np.asarray((chances.cumsum(axis=1) < 0.5).sum(axis=1).clip(max=len(BUCKETS) - 1))


def fit(known: Sequence[Evidence]) -> Calibration:
    """Return the distribution of q with the largest penalised likelihood, of facts that are probed in full.

    Each entry of `known` holds the facts of one number of templates. Rounded to four decimals, so that the last bits of
    a machine do not decide what is sampled.
    """
    from scipy.optimize import minimize

    terms = [(_logits(of), _log_likelihood(of)) for of in known]

    def cost(point: np.ndarray) -> float:
        made = Calibration(point[0], point[1], math.exp(point[2]))
        gains = (np.logaddexp.reduce(hits + _log_prior(logits, made), axis=1).sum() for logits, hits in terms)
        return float((((point - _CENTRE) / _WIDTH) ** 2).sum() / 2 - sum(gains))

    bounds = ((-15, 8), (-0.5, 2.5), (-1.5, 2.5))
    starts = ((-2.0, 0.5, 0.5), (-4.0, 1.0, 0.0))
    found = [minimize(cost, start, method="L-BFGS-B", bounds=bounds) for start in starts]
    level, slope, spread = (float(value) for value in min(found, key=lambda result: float(result.fun)).x)
    return Calibration(round(level, 4), round(slope, 4), round(math.exp(spread), 4))


def judge(evidence: Evidence, calibration: Calibration, samples: int) -> Judged:
    """Return what is to be expected of a full probe with so many samples of each template."""
    parts = [
        _judge(evidence.only(slice(start, start + _CHUNK)), calibration, samples)
        for start in range(0, max(1, len(evidence.hits)), _CHUNK)
    ]
    names = ("chances", "agreement", "mean", "low", "high")
    return Judged(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def _judge(evidence: Evidence, calibration: Calibration, samples: int) -> Judged:
    from scipy.special import ndtr

    weights = _log_likelihood(evidence) + _log_prior(_logits(evidence), calibration)
    weights = np.exp(weights - np.logaddexp.reduce(weights, axis=1, keepdims=True))
    rates = _rates(evidence)  # [facts, templates, grid]
    full = rates.shape[1] * samples
    mean, spread = rates.mean(axis=1), np.sqrt(samples * (rates * (1 - rates)).sum(axis=1))
    none = np.exp(samples * np.log1p(-rates).sum(axis=1))
    inner = [ndtr((math.floor(edge * full) + 0.5 - full * mean) / spread) for edge in INNER_EDGES]
    below = np.maximum.accumulate(np.stack([none, *inner, np.ones_like(none)], axis=-1), axis=-1)
    chances = np.diff(below, axis=-1, prepend=0.0)
    # The rate grows with q, so that its quantiles are those of q.
    cumulated = weights.cumsum(axis=1)
    ends = [
        np.take_along_axis(mean, (cumulated < share).sum(axis=1).clip(max=len(GRID) - 1)[:, None], axis=1)[:, 0]
        for share in (0.025, 0.975)
    ]
    # Without a hit nothing speaks against q = 0, as in an interval of hits, which then begins at 0.
    low = np.where(evidence.hits.sum(axis=1) == 0, evidence.probabilities.mean(axis=1), ends[0])
    return Judged(
        np.einsum("fg,fgb->fb", weights, chances),
        np.einsum("fg,fgb->f", weights, chances**2),
        (weights * mean).sum(axis=1),
        low,
        ends[1],
    )


def columns(facts: Sequence[Mapping[str, Any]], calibration: Calibration, samples: int) -> dict[str, Any]:
    """Return the columns of a mastery table, from what was found of each fact.

    `facts` holds for each one lists over its templates: `template_hits`, `template_trials`, `template_probabilities`.
    The columns are those, hits, trials, mastery, bucket, answer_probability, low, high and the posterior
    probabilities of the buckets. A fact that was probed in full has the mastery that the fixed protocol gives it. That
    of another is the posterior mean of its rate, in whole hits of a full probe and within its bucket.
    """
    sizes = np.array([len(fact["template_hits"]) for fact in facts])
    made: dict[str, np.ndarray] = {name: np.zeros(len(facts)) for name in ("mastery", "low", "high", *COLUMNS)}
    for size in sorted(set(sizes.tolist())):
        rows = np.flatnonzero(sizes == size)
        evidence = gathered([facts[row] for row in rows.tolist()])
        judged, full = judge(evidence, calibration, samples), size * samples
        hits, trials = evidence.hits.sum(axis=1), evidence.trials.sum(axis=1)
        edges = np.array([0, *(math.floor(edge * full) for edge in INNER_EDGES), full])
        lowest, highest = np.array([0, *(edges[:-1] + 1)]), edges
        guess = np.rint(judged.mean * full).clip(lowest[judged.bucket], highest[judged.bucket])
        made["mastery"][rows] = np.where(trials == full, hits, guess) / full
        made["low"][rows], made["high"][rows] = judged.low, judged.high
        for number, name in enumerate(COLUMNS):
            made[name][rows] = judged.chances[:, number]
    found: dict[str, Any] = {
        "hits": np.array([sum(fact["template_hits"]) for fact in facts], dtype=np.int64),
        "trials": np.array([sum(fact["template_trials"]) for fact in facts], dtype=np.int64),
        "mastery": made.pop("mastery"),
    }
    found |= {"bucket": [bucket(rate) for rate in found["mastery"]]}
    found |= {name: [fact[name] for fact in facts] for name in ("template_hits", "template_trials")}
    return {**found, "answer_probability": [float(np.mean(fact["template_probabilities"])) for fact in facts], **made}


def gathered(facts: Sequence[Mapping[str, Any]]) -> Evidence:
    """Return what is known of facts with equally many templates; each maps the names of `columns` to lists."""
    lists = ([fact[name] for fact in facts] for name in ("template_probabilities", "template_hits", "template_trials"))
    probabilities, hits, trials = lists
    whole = (np.array(values, dtype=np.int64) for values in (hits, trials))
    return Evidence(np.array(probabilities, dtype=float), *whole)


def _rates(evidence: Evidence) -> np.ndarray:
    """Return p_t for each value of q, float64 [facts, templates, grid], inside of (0, 1)."""
    least = evidence.probabilities[:, :, None]
    return np.asarray((least + (1 - least) * _RATES).clip(1e-12, 1 - 1e-9))


def _logits(evidence: Evidence) -> np.ndarray:
    mean = evidence.probabilities.mean(axis=1).clip(1e-7, 1 - 1e-7)
    return np.asarray(np.log(mean / (1 - mean)))


def _log_likelihood(evidence: Evidence) -> np.ndarray:
    """Return the logarithm of the probability of the hits for each value of q, float64 [facts, grid]."""
    rates, misses = _rates(evidence), (evidence.trials - evidence.hits)[:, :, None]
    return np.asarray((evidence.hits[:, :, None] * np.log(rates) + misses * np.log1p(-rates)).sum(axis=1))


def _log_prior(logits: np.ndarray, calibration: Calibration) -> np.ndarray:
    middle = calibration.level + calibration.slope * logits[:, None]
    logs = -(FREEDOM + 1) / 2 * np.log1p(((GRID - middle) / calibration.spread) ** 2 / FREEDOM)
    return np.asarray(logs - np.logaddexp.reduce(logs, axis=1, keepdims=True))
