"""Intervals of macro accuracies and their differences, where every seed's model answers the same questions.

Questions are crossed with seeds, not nested in them: a question that is easy is easy for every seed. Other questions
and other seeds would both have given another number, so the squared standard error has a part for each. With y [seeds,
questions], N_b questions in bucket b of B, and d_q the mean over seeds:

    theta = mean over buckets of the bucket's mean d_q;  theta_s: the same for one seed
    SE^2  = var_s(theta_s) / S + sum over b of var_q(d_q) / (B^2 N_b)

with t quantiles at Satterthwaite's degrees of freedom. The noise of a single answer enters both parts, so the interval
errs to the safe side. With fewer than three seeds the first part is left out, as a variance of two numbers says next
to nothing: the interval then speaks of these models, not of the training that made them.

Example. In each of five buckets, three seeds answer two questions: all know the first, only the last seed knows the
second. theta_s is 1/2, 1/2 and 1, with variance 1/12; d_q is 1 and 1/3 in each bucket, with variance 2/9. So theta =
2/3 and SE^2 = (1/12) / 3 + 5 (2/9) / (25 * 2) = 1/36 + 1/45 = 1/20.

Two conditions have the same seeds (n against n, k against k: subtract first, then call `accuracy`) or seeds of their
own (training buckets, base models: `difference`). An empty bucket makes everything NaN: a macro is never averaged over
fewer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sftlens.data.buckets import BUCKETS
from sftlens.statistics.intervals import satterthwaite

MIN_SEEDS = 3
OVER_SEEDS = "over seeds"
THIS_MODEL = "this model only"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A macro accuracy or a difference of two, with its 95 % interval; NaN where it is not defined."""

    value: float
    se: float
    df: float
    low: float
    high: float
    seeds: int
    """Seeds; of two independent sides the fewer."""
    questions: int
    """Questions that lie in a bucket."""

    @property
    def scope(self) -> str:
        """What the interval covers: OVER_SEEDS allows a verdict, THIS_MODEL does not."""
        return OVER_SEEDS if self.seeds >= MIN_SEEDS else THIS_MODEL


def accuracy(y: ArrayLike, buckets: ArrayLike, relations: ArrayLike | None = None) -> Estimate:
    """Return the macro mean of y with its interval.

    Args:
        y: [seeds, questions] answers (bool), or differences of the answers of one seed under two conditions. A model
            without seeds of its own, such as the base, is subtracted as [1, questions].
        buckets: [questions] int, 0..4; -1 for a question of no bucket, which does not enter.
        relations: [questions] labels; if given, the question part is robust to correlation within relations.
    """
    return combination([y], buckets, relations)


def difference(a: ArrayLike, b: ArrayLike, buckets: ArrayLike, relations: ArrayLike | None = None) -> Estimate:
    """Return the macro of a minus that of b, paired on questions alone: their seeds are independent.

    Both are [seeds, questions] answers to the same questions; buckets and relations are as in `accuracy`.
    """
    return combination([_answers(a), -_answers(b)], buckets, relations)


def combination(sides: Sequence[ArrayLike], buckets: ArrayLike, relations: ArrayLike | None = None) -> Estimate:
    """Return the macro of a sum of sides, each with seeds of its own and multiplied by its weight.

    Sides are [seeds, questions] each, the questions the same; buckets and relations are as in `accuracy`.
    """
    answers = [_answers(side) for side in sides]
    d = np.sum([side.mean(axis=0) for side in answers], axis=0)
    return _estimate(d, answers, buckets, relations)


def mean(y: ArrayLike) -> Estimate:
    """Return the plain mean of y [seeds, questions] with its interval: the same with all questions in one bucket.

    NaN without questions.
    """
    answers = _answers(y)
    d = answers.mean(axis=0)
    return _estimate(d, [answers], np.zeros(answers.shape[1], dtype=np.int64), None, 1)


def members(d: ArrayLike, inside: ArrayLike) -> Floats:
    """Return values whose `mean` is that of d over the questions `inside`, which may be others for each seed.

    Both are [seeds, questions], `inside` bool. With m_s the mean of d over the n_s questions inside of seed s, of Q in
    all, a question inside counts m_s + (d - m_s) Q / n_s and another one m_s (the influence function of a mean), so
    that the values' spread over questions is that of m_s. Differences of such values are those of the means. NaN for a
    seed without such a question.
    """
    values, chosen = _answers(d), np.atleast_2d(np.asarray(inside, dtype=bool))
    count = chosen.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(chosen, values, 0).sum(axis=1, keepdims=True) / count
        return means + np.where(chosen, values - means, 0) * chosen.shape[1] / count


def reweighted(d: ArrayLike, weights: ArrayLike) -> float:
    """Return the macro mean of d [questions] where each question counts in bucket b with weights [questions, buckets].

    With weights P(bucket | hits) it shows how much hangs on the questions that lie near a bucket's edge. NaN where the
    weights of a bucket sum to zero.
    """
    w = np.asarray(weights, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return float(np.mean(np.asarray(d, dtype=np.float64) @ w / w.sum(axis=0)))


def _answers(y: ArrayLike) -> Floats:
    return np.atleast_2d(np.asarray(y, dtype=np.float64))


def _estimate(
    d: Floats, sides: Sequence[Floats], buckets: ArrayLike, relations: ArrayLike | None, count: int = len(BUCKETS)
) -> Estimate:
    codes = np.asarray(buckets)
    inside = codes >= 0
    seeds = min(len(side) for side in sides)
    sizes = np.bincount(codes[inside], minlength=count).astype(np.float64)
    # Weight of each question in the macro.
    share = np.zeros(len(codes))
    share[inside] = 1 / (count * sizes[codes[inside]])
    value = float(share @ d) if sizes.all() else np.nan
    if relations is None:
        means = np.bincount(codes[inside], weights=d[inside], minlength=count) / np.maximum(sizes, 1)
        squares = np.bincount(codes[inside], weights=(d[inside] - means[codes[inside]]) ** 2, minlength=count)
        parts = [
            (s / (n - 1) / (count**2 * n), n - 1) if n > 1 else (np.nan, 0)
            for s, n in zip(squares.tolist(), sizes.tolist(), strict=True)
        ]
    else:
        parts = [_relation_part(d, codes, share, np.asarray(relations), inside)]
    if seeds >= MIN_SEEDS:
        parts += [(float(np.var(side @ share, ddof=1)) / len(side), len(side) - 1) for side in sides]
    return Estimate(value, *satterthwaite(value, parts), seeds=seeds, questions=int(inside.sum()))


def _relation_part(
    d: Floats, codes: NDArray[np.int_], share: Floats, relations: NDArray[np.generic], inside: NDArray[np.bool_]
) -> tuple[float, float]:
    """Return the cluster-robust variance of the question part, and its degrees of freedom G - 1.

    theta is a weighted sum over questions; with u_g the sum of weight x (d_q - bucket mean) over relation g, whatever
    buckets its questions lie in, V = G / (G - 1) sum u_g^2 (Liang and Zeger 1986, Biometrika 73, 13-22; small-sample
    factor and degrees of freedom as in Cameron and Miller 2015, Journal of Human Resources 50, 317-372). With one
    question a relation it is nearly the question part of SE^2. With few relations it is still somewhat too small.
    """
    _, groups = np.unique(relations[inside], return_inverse=True)
    count = int(groups.max()) + 1 if groups.size else 0
    if count < 2 or np.bincount(codes[inside], minlength=len(BUCKETS)).min() < 2:
        return np.nan, 0
    weight, own = share[inside], codes[inside]
    means = np.bincount(own, weights=weight * d[inside], minlength=len(BUCKETS)) * len(BUCKETS)
    scores = np.bincount(groups, weights=weight * (d[inside] - means[own]))
    return count / (count - 1) * float(scores @ scores), count - 1
