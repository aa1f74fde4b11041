"""Crossed seeds and questions: against hand-computed numbers, a direct recomputation, and simulated studies."""

import math
import runpy

import numpy as np
import pytest
from scipy import stats

from repository import ROOT
from sftlens.statistics import crossed, intervals

PAIRS = np.repeat(np.arange(5), 2)
SIZES = (7, 31, 12, 20, 3)
UNEVEN = np.repeat(np.arange(5), SIZES)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def bounds(found: crossed.Estimate) -> tuple[float, float]:
    return found.low, found.high


def test_by_hand():
    """Per bucket one question that every seed knows, and one that only the last of three seeds knows."""
    y = np.tile([[1, 0], [1, 0], [1, 1]], 5)
    found = crossed.accuracy(y, PAIRS)
    # theta_s = 1/2, 1/2, 1, variance 1/12; d_q = 1 and 1/3 in each bucket, variance 2/9.
    assert found.value == pytest.approx(2 / 3)
    assert found.se**2 == pytest.approx(1 / 36 + 1 / 45)
    df = (1 / 20) ** 2 / ((1 / 36) ** 2 / 2 + 5 * (1 / 225) ** 2)
    assert found.df == pytest.approx(df)
    half = stats.t.ppf(0.975, df) * math.sqrt(1 / 20)
    assert bounds(found) == pytest.approx((2 / 3 - half, 2 / 3 + half))
    assert (found.seeds, found.questions, found.scope) == (3, 10, "over seeds")


def test_against_a_direct_recomputation(rng):
    y = rng.random((4, len(UNEVEN))) < 0.1 + 0.2 * UNEVEN
    per_seed = [np.mean([row[b == UNEVEN].mean() for b in range(5)]) for row in y]
    d = y.mean(axis=0)
    parts = [(np.var(per_seed, ddof=1) / 4, 3)]
    parts += [(np.var(d[b == UNEVEN], ddof=1) / (25 * n), n - 1) for b, n in enumerate(SIZES)]
    variance = sum(v for v, _ in parts)
    df = variance**2 / sum(v**2 / f for v, f in parts)
    found = crossed.accuracy(y, UNEVEN)
    assert (found.value, found.se, found.df) == pytest.approx((np.mean(per_seed), math.sqrt(variance), df))
    assert bounds(found) == pytest.approx(stats.t.interval(0.95, df, np.mean(per_seed), math.sqrt(variance)))


def test_neither_order_nor_questions_of_no_bucket_matter(rng):
    y = rng.random((3, len(UNEVEN))) < 0.4
    order = rng.permutation(len(UNEVEN))
    more = np.hstack([np.ones((3, 4)), y[:, order]])
    found, other = crossed.accuracy(y, UNEVEN), crossed.accuracy(more, np.append([-1] * 4, UNEVEN[order]))
    assert (other.value, *bounds(other)) == pytest.approx((found.value, *bounds(found)))
    assert other.questions == found.questions


def test_a_difference_adds_the_variances_of_both_sides_seeds(rng):
    a, b = rng.random((5, len(UNEVEN))) < 0.6, rng.random((3, len(UNEVEN))) < 0.3
    found = crossed.difference(a, b, UNEVEN)
    alone = crossed.accuracy(a.mean(axis=0) - b.mean(axis=0), UNEVEN)
    seeds = [np.var([crossed.accuracy(row, UNEVEN).value for row in side], ddof=1) / len(side) for side in (a, b)]
    assert found.value == pytest.approx(alone.value)
    assert found.se**2 == pytest.approx(alone.se**2 + sum(seeds))
    assert found.df == pytest.approx(found.se**4 / (alone.se**4 / alone.df + seeds[0] ** 2 / 4 + seeds[1] ** 2 / 2))
    assert found.seeds == 3


def test_pairing_takes_out_what_two_conditions_share(rng):
    easy = rng.random(len(UNEVEN)) < 0.5
    y = np.stack([easy, easy, easy])
    assert crossed.accuracy(y, UNEVEN).se > 0
    same = crossed.accuracy(y * 1.0 - easy, UNEVEN)
    assert (same.value, same.se, same.low, same.high) == (0, 0, 0, 0)


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_give_the_interval_of_the_questions(seeds, rng):
    y = rng.random((seeds, len(UNEVEN))) < 0.5
    y[0] = True
    found = crossed.accuracy(y, UNEVEN)
    assert found.scope == "this model only"
    assert found.se == crossed.accuracy(y.mean(axis=0), UNEVEN).se
    assert crossed.difference(np.repeat(y, 3, axis=0), y, UNEVEN).scope == "this model only"


def test_an_empty_bucket_leaves_nothing_to_average():
    found = crossed.accuracy(np.ones((3, 10)), np.minimum(PAIRS, 3))
    assert math.isnan(found.value) and math.isnan(found.low) and math.isnan(found.se)
    assert math.isnan(crossed.accuracy(np.ones((3, 0)), np.empty(0, int)).value)


def test_a_bucket_of_one_question_has_a_value_and_no_interval(rng):
    buckets = np.array([0, 0, 1, 1, 2, 2, 3, 3, 4])
    y = rng.random((3, 9)) < 0.5
    for relations in (None, np.arange(9)):
        found = crossed.accuracy(y, buckets, relations)
        assert math.isfinite(found.value) and math.isnan(found.low)


def test_summary_and_table_have_the_same_interval_for_one_model(rng):
    y = rng.random(len(UNEVEN)) < 0.5
    found = crossed.accuracy(y, UNEVEN)
    shares = [y[b == UNEVEN].mean() for b in range(5)]
    assert intervals.macro(shares, SIZES) == pytest.approx((found.value, found.low, found.high))


def test_relations_of_one_question_change_almost_nothing(rng):
    buckets = np.repeat(np.arange(5), 200)
    y = rng.random((4, 1000)) < 0.1 + 0.2 * buckets
    plain, single = crossed.accuracy(y, buckets), crossed.accuracy(y, buckets, np.arange(1000))
    assert single.value == plain.value
    assert single.se == pytest.approx(plain.se, rel=0.005)


def test_repeating_the_questions_of_a_relation_adds_no_knowledge(rng):
    """Five copies of every question, each with its copies in a relation: the same answers are known as before."""
    y = (rng.random(len(UNEVEN)) < 0.5).astype(float)
    relations = np.arange(len(UNEVEN))
    once = crossed.accuracy(y, UNEVEN, relations)
    often = crossed.accuracy(np.tile(y, 5), np.tile(UNEVEN, 5), np.tile(relations, 5))
    assert (often.value, often.se) == pytest.approx((once.value, once.se))
    assert crossed.accuracy(np.tile(y, 5), np.tile(UNEVEN, 5)).se < 0.5 * once.se


def test_relation_part_by_hand():
    """Two relations, one right in all buckets where the other is wrong: u = +-1/4, so V = 2 (1/16 + 1/16)."""
    y, relations = np.tile([1.0, 0.0], 5), np.tile(["P19", "P36"], 5)
    found = crossed.accuracy(y, PAIRS, relations)
    assert (found.value, found.se**2, found.df) == pytest.approx((0.5, 0.25, 1))
    assert math.isnan(crossed.accuracy(y, PAIRS, np.full(10, "P19")).se)


def test_posterior_weights(rng):
    y = rng.random(len(UNEVEN)) < 0.5
    certain = np.eye(5)[UNEVEN]
    assert crossed.reweighted(y, certain) == pytest.approx(crossed.accuracy(y, UNEVEN).value)
    # The one wrong answer belongs to D0 with probability 1/4 and to D1 with 3/4.
    doubtful = np.eye(5)[PAIRS]
    doubtful[0] = [0.25, 0.75, 0, 0, 0]
    wrong = np.ones(10)
    wrong[0] = 0
    assert crossed.reweighted(wrong, doubtful) == pytest.approx((1 / 1.25 + 2 / 2.75 + 3) / 5)
    assert math.isnan(crossed.reweighted(y, certain[:, [0, 1, 2, 3, 3]] * [1, 1, 1, 1, 0]))


REPEATS = 500
# Three standard errors of a coverage of 95 %.
MARGIN = 3 * math.sqrt(0.95 * 0.05 / REPEATS)


@pytest.fixture(scope="module")
def simulation() -> dict:
    return runpy.run_path(str(ROOT / "benchmarks/interval_coverage.py"))


@pytest.mark.parametrize(("kind", "seeds"), [("accuracy", 3), ("contrast", 5)])
def test_intervals_hold_the_truth_as_often_as_they_say_and_bootstraps_do_not(simulation, kind, seeds):
    found = {name: row[0] for name, row in simulation["coverage"](kind, seeds, REPEATS).items()}
    assert 0.95 - MARGIN < found["crossed"] < 0.99
    assert found["nested"] < 0.95 - MARGIN
    assert found["questions"] < found["crossed"]


def test_two_seeds_tell_about_these_models_and_not_about_others(simulation):
    truth, here, _ = simulation["coverage"]("accuracy", 2, REPEATS)["crossed"]
    assert here > 0.95 - MARGIN > truth
