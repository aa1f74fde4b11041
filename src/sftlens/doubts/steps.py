"""Is it the number of samples or the number of steps?"""

from typing import Self

from pydantic import Field, model_validator

from sftlens.config.axes import Axes, Distinct, TrainSet
from sftlens.doubts import ACCURACY, DOUBTS, TESTS, Answers, Doubt, Row, contrast, largest, row


class Steps(Axes):
    """Few samples in several epochs against as many different ones in one: equal steps, equal schedule."""

    train_sets: Distinct[TrainSet] = Field(["repeated", "mixed"], validate_default=True)
    """Two: a recipe that repeats few facts (`repeat`, `by_pass`), and the set that its facts are drawn from; both are
    trained at every n of `scales`, and compared at the largest."""

    @model_validator(mode="after")
    def _two(self) -> Self:
        if len(self.train_sets) != 2:
            raise ValueError("train_sets names the set of few repeated samples, then that of different ones: two")
        return self


def measure(answers: Answers) -> list[Row]:
    """Return the repeated set minus the other at the largest n, both against n, and the training facts per step."""
    study, rows = answers.paths.study, []
    repeated, once = study.experiments.steps.train_sets
    for model in study.models:
        n = largest(answers.grid, model)
        cells = {(one.train_set, one.scale): one for one in answers.grid if one.model == model}
        few, many = cells.get((repeated, n)), cells.get((once, n))
        if not few or not many:
            continue
        quantity = f"{repeated} minus {once} (points), by n"
        for split, name in TESTS.items():
            rows.append(row(model, quantity, name, n, contrast(answers, few, many, split)))
        for split, name in TESTS.items():
            for (train_set, scale), one in cells.items():
                series = f"{name}, {train_set}"
                rows.append(row(model, f"{ACCURACY}, by n", series, scale, contrast(answers, one, None, split)))
    return rows


DOUBTS.add(Doubt(
    "steps", 1, "Is it the number of samples or the number of steps that harms?",
    "accuracy on ID test", "after few samples in several epochs", "after as many different samples in one",
    "Equal numbers of steps are not equal numbers of facts: what few facts repeated do, and what many facts do, are "
    "compared, not separated from how well each is learned.",
    Steps, measure,
))  # fmt: skip
