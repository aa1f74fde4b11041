"""The rule by which a setting is chosen, or none.

On the choosing half of the facts and of the task's examples, each setting is compared with the fine-tuned model as it
is, example by example, with a 95 % t interval of the mean difference. A setting may be taken if

1. the interval of its change of the task's score lies above minus the tolerance, and
2. the interval of its gain in facts answered lies above zero.

Of those the one with the most facts answered is taken; ties go to the smaller ratio, then to the criterion named first.
If there is none, nothing is written. Where no task is given, the share of well-formed answers to the facts takes the
place of the task's score. Several settings are tried, so that a useless one meets condition 2 more often than once in
forty times: the effect of the chosen one is therefore measured on the reporting half, which has no part in the choice.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sftlens.repair.models import Candidate
from sftlens.statistics import intervals

Floats = NDArray[np.float64]

RULE = (
    "On the choosing half, among the settings whose change of the task's score against the fine-tuned model has a "
    "paired 95 % interval above -{tolerance:g} points, and whose gain in facts answered has one above 0, the one with "
    "the most facts answered is taken; ties go to the smaller ratio, then to the criterion named first. If there is "
    "none, no model is written."
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
    """A mean, and its paired difference from the fine-tuned model's with a 95 % t interval; shares."""

    mean: float
    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Comparison:
    """A model against the fine-tuned one, on some of the examples."""

    facts: Difference
    task: Difference

    def keeps_task(self, tolerance: float) -> bool:
        """Whether condition 1 holds."""
        return self.task.low >= -tolerance

    def gains(self) -> bool:
        """Whether condition 2 holds."""
        return self.facts.low > 0


def compare(scores: Scores, finetuned: Scores, facts: NDArray[np.bool_], task: NDArray[np.bool_]) -> Comparison:
    """Return the comparison of a model with the fine-tuned one on the examples that `facts` and `task` select."""
    return Comparison(
        difference(scores.facts[facts], finetuned.facts[facts]), difference(scores.task[task], finetuned.task[task])
    )


def difference(values: Floats, against: Floats) -> Difference:
    """Return the mean of `values` and its paired difference; both [examples], two or more."""
    value, low, high = intervals.mean((values - against).tolist())
    assert low is not None and high is not None
    return Difference(float(values.mean()), value, low, high, len(values))


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
