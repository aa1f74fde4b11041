"""Flips: which examples two models answer differently, one by one; an average hides those that cancel out.

From right to wrong is a loss, from wrong to right a gain (arXiv 2510.17776, forgetting and backward transfer). A right
answer may be a guess. For multiple choice that paper subtracts the flips that guesses, drawn anew by either model, are
expected to make. Open questions have no choices, and two greedy models that do not know an answer mostly guess alike:
drawing anew would expect more flips than there are. So the guess is that of the majority baseline, the relation's most
frequent answer, and the examples that it answers rightly are left out, as there a right answer shows no knowledge:

    lost beyond guessing = sum over q of (1 - g_q) lost_q / sum over q of (1 - g_q),

with g_q = 1 where the guess is right and lost_q the share of pairs of runs in which q is lost; the same for gains.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Flips:
    """Shares of a group of examples, 0 to 1; NaN for a group without any."""

    n: int
    lost: float
    gained: float
    beyond: int
    """Examples that the guess answers wrongly."""
    lost_beyond: float
    """Lost share of these; NaN where the guess is not known."""
    gained_beyond: float


def flipped(before: ArrayLike, after: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return where examples are lost and where they are gained, bool: right or wrong, or scores, before and after."""
    change = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    return change < 0, change > 0


def shares(pairs: Sequence[tuple[ArrayLike, ArrayLike]]) -> tuple[np.ndarray, np.ndarray]:
    """Return for each example the share of `pairs` (before, after) in which it is lost, and gained, fp64 [examples]."""
    found = [flipped(before, after) for before, after in pairs]
    lost, gained = (np.mean([pair[side] for pair in found], axis=0) for side in (0, 1))
    return lost, gained


def count(lost: np.ndarray, gained: np.ndarray, group: np.ndarray, guessed: np.ndarray | None = None) -> Flips:
    """Return the flips of a group, bool [examples], from `shares`; `guessed`: what the majority guess answers."""
    beyond = group & ~guessed if guessed is not None else np.zeros_like(group)
    means = [float(side[of].mean()) if of.any() else float("nan") for of in (group, beyond) for side in (lost, gained)]
    return Flips(int(group.sum()), means[0], means[1], int(beyond.sum()), means[2], means[3])
