"""Does restoring bring something back, or does it only take something away?"""

from typing import Self

from pydantic import Field, model_validator

from sftlens.config.axes import Distinct, Ratios, Reverting, TrainSet
from sftlens.doubts import ACCURACY, DOUBTS, RESTORED, TESTS, Answers, Doubt, Restored, Row, contrast, largest, row

CONTROL = "equal-size"
"""What the sentence compares `relative` with."""


class Nulls(Restored):
    """Restoring by `relative` against null controls of the same size (docs/strategies.md)."""

    train_sets: Distinct[TrainSet] = ["mixed"]
    """Training sets; the sentence is about the first one."""
    ratios: Ratios = [20, 5, 60]
    """Percent of the region's parameters; the sentence is about the first one."""
    criteria: Distinct[Reverting] = Field(
        [RESTORED, CONTROL, "sign-flip", "deletion", "random", "redrawn", "interpolation"], min_length=1
    )
    """`relative`, and the controls that it is compared with at the same ratio; `equal-size` is one of them."""

    @model_validator(mode="after")
    def _controlled(self) -> Self:
        if CONTROL not in self.criteria:
            raise ValueError(f"criteria lacks `{CONTROL}`, the control that the sentence is about; add it")
        return self


def measure(answers: Answers) -> list[Row]:
    """Return `relative` minus each control at each ratio, and the accuracies of all, at the largest n of each set."""
    study, rows = answers.paths.study, []
    axes = study.experiments.nulls
    controls = sorted((name for name in axes.criteria if name != RESTORED), key=lambda name: name != CONTROL)
    places = [(t, r, region) for t in axes.train_sets for region in axes.regions for r in axes.ratios]
    several = [len(axes.train_sets) > 1, len(axes.regions) > 1]

    def at(train_set: str, region: str) -> str:
        return "".join(f", {name}" for name, needed in zip((train_set, region), several, strict=True) if needed)

    for model in study.models:
        n = largest(answers.grid, model)
        own = [one for one in answers.grid if one.model == model and one.scale == n]
        cells = {(one.train_set, one.region, one.ratio, one.criterion): one for one in own}
        for split, name in TESTS.items():
            for train_set, ratio, region in places:
                for control in controls:
                    pair = [cells.get((train_set, region, ratio, kind)) for kind in (RESTORED, control)]
                    if all(pair):
                        quantity = f"{name}: {RESTORED} minus a control (points), by k (%)"
                        found = contrast(answers, pair[0], pair[1], split)
                        rows.append(row(model, quantity, control + at(train_set, region), f"{ratio:g}", found))
        for split, name in TESTS.items():
            for kind in axes.criteria:
                for train_set, region in dict.fromkeys((t, region) for t, _, region in places):
                    series, whole = kind + at(train_set, region), cells.get((train_set, "", None, ""))
                    steps = [(0.0, whole), *((k, cells.get((train_set, region, k, kind))) for k in sorted(axes.ratios))]
                    for ratio, one in steps:
                        if one:
                            found = contrast(answers, one, None, split)
                            rows.append(row(model, f"{name}: {ACCURACY}, by k (%)", series, f"{ratio:g}", found))
    return rows


DOUBTS.add(Doubt(
    "nulls", 10, "Does restoring bring knowledge back, or is it enough to take the changes away?",
    "accuracy on ID test", "after restoring {k} % by `relative`",
    "after giving the same elements a change of equal size and random sign",
    "`relative` ranks first what is near zero in the base, where any value of that size may do little: the controls "
    "share this choice of elements, and say nothing of another one.",
    Nulls, measure,
))  # fmt: skip
