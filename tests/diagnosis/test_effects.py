"""Paired effects of a fine-tuning and the verdict on them."""

import math

import numpy as np
import pytest

from sftlens.diagnosis import effects
from sftlens.diagnosis.effects import KEPT, LOST, UNDECIDED, judge, paired


def changed(lost: int, gained: int, both: int, neither: int, again: int = 0) -> effects.Effect:
    """Return the effect on facts of which so many were lost and gained; `again` of the lost ones come back."""
    before = np.r_[np.ones(lost), np.zeros(gained), np.ones(both), np.zeros(neither)]
    after = np.r_[np.zeros(lost), np.ones(gained), np.ones(both), np.zeros(neither)]
    repeated = np.r_[np.ones(again), after[again:]] if again else None
    return paired(before, after, repeated)


def test_the_interval_is_that_of_the_paired_difference() -> None:
    effect = changed(12, 2, 48, 38)
    assert (effect.before, effect.after, effect.n) == (0.6, 0.5, 100)
    # By hand: mean -0.10, variance of the differences (14 - 100 * 0.01) / 99, t quantile 1.984 at 99 degrees.
    half = 1.98421695 * math.sqrt(13 / 99 / 100)
    assert (effect.low, effect.high) == pytest.approx((-0.1 - half, -0.1 + half))


def test_an_interval_ends_where_shares_do() -> None:
    effect = changed(2, 0, 1, 0)
    assert (effect.value, effect.low) == (pytest.approx(-2 / 3), -1) and 0.7 < effect.high < 0.8
    other = paired([1.0, 2.0, 3.0], [9.0, 1.0, 3.0])  # no shares
    assert other.low < -1 and other.high > 1


@pytest.mark.parametrize(
    ("effect", "tolerance", "outcome", "enough"),
    [
        (changed(12, 2, 48, 38), 0.02, LOST, None),
        (changed(12, 2, 48, 38), 0.05, UNDECIDED, 210),
        (changed(12, 12, 500, 500), 0.02, KEPT, None),
        (changed(0, 0, 5, 5), 0.02, UNDECIDED, 190),  # five facts that are still known say nothing
        (changed(0, 0, 300, 100), 0.02, KEPT, None),
    ],
)
def test_the_verdict_needs_the_whole_interval(
    effect: effects.Effect, tolerance: float, outcome: str, enough: int | None
) -> None:
    verdict = judge(effect, tolerance, known=True)
    assert (verdict.outcome, verdict.enough) == (outcome, enough)


def test_as_many_facts_as_are_said_to_be_enough_decide() -> None:
    enough = judge(changed(12, 2, 48, 38), 0.05).enough
    assert enough
    times = math.ceil(enough / 100)
    assert judge(changed(12 * times, 2 * times, 48 * times, 38 * times), 0.05).outcome == LOST
    assert judge(changed(24, 4, 96, 76), 0.05).outcome == UNDECIDED
    assert judge(changed(0, 0, 180, 10), 0.02).outcome == KEPT
    assert judge(changed(0, 0, 170, 10), 0.02).outcome == UNDECIDED


def test_a_base_that_knows_nothing_can_lose_nothing() -> None:
    verdict = judge(changed(0, 0, 1, 999), 0.02, known=True)
    assert verdict.outcome == UNDECIDED and "knows" in verdict.reason and verdict.enough is None
    assert judge(changed(0, 0, 1, 999), 0.02).outcome == KEPT  # of a task


def test_a_loss_within_the_noise_of_the_instrument_is_no_loss() -> None:
    assert judge(changed(12, 2, 48, 38, again=12), 0.02).outcome == UNDECIDED
    assert changed(12, 2, 48, 38, again=12).floor == pytest.approx(0.12)
    assert judge(changed(12, 2, 48, 38, again=1), 0.02).outcome == LOST


def test_one_loss_decides_over_all() -> None:
    kept, lost, open_ = (effects.Verdict(outcome, 0.02) for outcome in (KEPT, LOST, UNDECIDED))
    assert effects.together([kept, open_, lost]) == LOST
    assert effects.together([kept, open_]) == UNDECIDED
    assert effects.together([kept]) == KEPT
    assert [effects.EXIT_STATUS[outcome] for outcome in (KEPT, LOST, UNDECIDED)] == [0, 2, 3]
