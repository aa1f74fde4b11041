"""The rule by which a setting is chosen, or none.

On the choosing half of the facts and of the task's examples, each of the m settings is compared with the fine-tuned
model as it is, example by example, with a t interval of the mean difference at the level 1 - 0.05 / m (Bonferroni). A
setting may be taken if

1. the interval of its change of the task's score lies above minus the tolerance, and
2. the interval of its gain in facts answered lies above zero.

Of those the one with the most facts answered is taken; ties go to the smaller ratio, then to the criterion and the
region named first. If there is none, nothing is written. Where no task is given, the share of well-formed answers to
the facts takes the place of the task's score.

Why Bonferroni: the chance that any setting of no use, or one that costs the task more than the tolerance, passes is at
most one in forty, however the settings depend on one another, and the intervals hold together, so that they can be
shown. Holm's procedure takes the same first step, and only one setting is taken. Resampling the maximum would be less
strict where settings are alike; it would make the choice depend on random numbers. The effect of the chosen setting is
still read off the reporting half, as the best of several looks better than it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sftlens.repair.models import Candidate
from sftlens.statistics import intervals

Floats = NDArray[np.float64]

RULE = (
    "On the choosing half, among the {settings} settings whose change of the task's score against the fine-tuned model "
    "has a paired interval above -{tolerance:g} points, and whose gain in facts answered has one above 0, the one with "
    "the most facts answered is taken; ties go to the smaller ratio, then to the criterion and the region named first. "
    "The intervals hold together for all settings (Bonferroni: {level:.4g} % each). If there is none, no model is "
    "written."
)
STAND_IN = " No task was given: the share of well-formed answers to the facts takes the place of its score."


@dataclass(frozen=True)
class Scores:
    """What one model scores on each example."""

    facts: Floats
    """1 where the question was answered, else 0 [facts]."""
    task: Floats
    """Score of each example of the task, 0 to 1; without a task whether the answer to each fact is well-formed."""


@dataclass(frozen=True)
class Difference:
    """A mean, and its paired difference from another model's with a t interval; shares."""

    mean: float
    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Comparison:
    """A model against another one, the fine-tuned unless said otherwise, on some of the examples."""

    facts: Difference
    task: Difference

    def keeps_task(self, tolerance: float) -> bool:
        """Whether condition 1 holds."""
        return self.task.low >= -tolerance

    def gains(self) -> bool:
        """Whether condition 2 holds."""
        return self.facts.low > 0


def level_of(settings: int) -> float:
    """Return the level of each interval of so many settings that together have 95 %."""
    return 1 - 0.05 / max(1, settings)


def compare(
    scores: Scores, against: Scores, facts: NDArray[np.bool_], task: NDArray[np.bool_], level: float = 0.95
) -> Comparison:
    """Return the comparison of a model with another on the examples that `facts` and `task` select."""
    return Comparison(
        difference(scores.facts[facts], against.facts[facts], level),
        difference(scores.task[task], against.task[task], level),
    )


def difference(values: Floats, against: Floats, level: float = 0.95) -> Difference:
    """Return the mean of `values` and its paired difference; both [examples], two or more."""
    value, low, high = intervals.mean((values - against).tolist(), level)
    assert low is not None and high is not None
    return Difference(float(values.mean()), value, low, high, len(values))


def as_good(base: Comparison) -> bool:
    """Whether the base, compared with the repaired model, does what that does: then the examples recommend neither.

    It answers at least as many facts, and the interval of its task's score does not lie below that of the repaired one.
    """
    return base.facts.value >= 0 and base.task.high >= 0


def choose(found: Mapping[Candidate, Comparison], tolerance: float) -> Candidate | None:
    """Return the setting that the rule takes, None for none; `found`, in the order of ties, on the choosing half."""
    fit = [candidate for candidate, seen in found.items() if seen.gains() and seen.keeps_task(tolerance)]
    return max(fit, key=lambda candidate: found[candidate].facts.mean, default=None)


def why_not(found: Mapping[Candidate, Comparison], tolerance: float) -> str:
    """Return in a sentence why no setting was taken."""
    gaining = [candidate for candidate, seen in found.items() if seen.gains()]
    if not gaining:
        return "No setting answers more facts than the fine-tuned model does (no paired interval lies above 0)."
    best = max(gaining, key=lambda candidate: found[candidate].task.low)
    change = found[best].task
    words = (
        "Every setting that answers more facts may cost more of the task than the tolerance: the mildest, "
        f"{best.name}, changes it by {100 * change.value:+.1f} points ({100 * change.low:+.1f} to "
        f"{100 * change.high:+.1f})"
    )
    few = change.value >= -tolerance
    return f"{words}. With more examples of the task the interval would be narrower." if few else f"{words}."
