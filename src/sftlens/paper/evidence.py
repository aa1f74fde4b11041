"""What a verdict can be drawn from: linear combinations of accuracies, and numbers of single cells, with their errors.

`Evidence` is answered by a study (`measured`) and by the paper's own tables (`printed`), so that both go through the
same rule. A combination names its accuracies by `Term`. Terms of one training bucket share their seeds: they are
subtracted seed by seed; buckets have seeds of their own, and their variances add up.

Example: the mean loss over two buckets is

    [Term(1/2, "D0", 240), Term(-1/2, "D0", 1920), Term(1/2, "D1", 240), Term(-1/2, "D1", 1920)]
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import pandas as pd

from sftlens.statistics.intervals import satterthwaite


class Missing(Exception):
    """A cell that a claim needs is not there; the text says which one and why."""


@dataclass(frozen=True)
class Term:
    """One accuracy and its weight in a combination."""

    weight: float
    train_set: str
    n: int
    ratio: float | None = None
    """k in percent; None without restoration."""
    criterion: str = "relative"
    region: str = "transformer"


@dataclass(frozen=True)
class Part:
    """One number that a claim compares with a threshold: it must lie above it."""

    value: float
    se: float
    """Standard error (`scale` "fisher": of atanh(value)); NaN where it is unknown, as of single runs."""
    df: float
    """Degrees of freedom of the t quantile; infinite for the normal one."""
    seeds: int
    threshold: float = 0.0
    label: str = ""
    """Which cells, where a claim has several parts."""
    scale: Literal["plain", "fisher"] = "plain"

    def interval(self, alpha: float) -> tuple[float, float]:
        """Return the two-sided interval that misses with probability alpha; NaN where the error is unknown."""
        from scipy.special import stdtrit

        if math.isnan(self.se):
            return math.nan, math.nan
        quantile = float(stdtrit(self.df if math.isfinite(self.df) else 1e12, 1 - alpha / 2))
        if self.scale == "plain":
            return self.value - quantile * self.se, self.value + quantile * self.se
        centre = math.atanh(max(-1 + 1e-12, min(1 - 1e-12, self.value)))
        return math.tanh(centre - quantile * self.se), math.tanh(centre + quantile * self.se)


class Evidence(Protocol):
    """Where the numbers come from; a method raises Missing for what is not there."""

    model: str

    def scales(self) -> list[int]:
        """Return the numbered n that every training bucket D0..D4 fills, in order."""

    def combine(self, terms: Sequence[Term], split: str) -> Part:
        """Return a combination of macro accuracies (points); of accuracies on the training set for split `train`."""

    def concentration(self, n: int, top: float, train_sets: Sequence[str], *, null: bool) -> Part:
        """Return the share (%) of the sum of r in the top k %, mean over training sets; `null`: minus the permuted."""

    def divergence(self) -> tuple[pd.DataFrame, int]:
        """Return one row a cell: `train_set`, `n`, `kl` (nats), `accuracy` (%, on D4), mean over seeds; and seeds."""

    def blocks(self) -> list[str]:
        """Return the regions of the blocks of layers, from the first on."""

    def strategies(self, split: str) -> Part:
        """Return restoration minus the best other strategy (points), each chosen on dev."""
        raise Missing("no cell was chosen on the dev split for every strategy")

    def tasks(self) -> list[Part]:
        """Return the gain of each other task's score by restoring at the k that dev chose (points)."""
        raise Missing("no cell restores a model that was fine-tuned on XSum or GSM8K")


def over_seeds(values: dict[str, np.ndarray]) -> Part:
    """Return the mean over training sets of values [seeds], with the standard error over seeds.

    SE^2 = sum over the B sets of var_s / (B^2 S), Satterthwaite's degrees of freedom.
    """
    count = len(values)
    value = float(np.mean([one.mean() for one in values.values()]))
    seeds = min(len(one) for one in values.values())
    if seeds < 2:
        return Part(value, math.nan, math.nan, seeds)
    parts = [(float(one.var(ddof=1)) / (count**2 * len(one)), len(one) - 1) for one in values.values()]
    found = satterthwaite(value, parts)
    return Part(value, found.se, found.df, seeds)
