"""Is it the number of samples or the number of steps?"""

from pydantic import Field

from sftlens.config.axes import Distinct, TrainSet
from sftlens.doubts import DOUBTS, Answers, Doubt, Pair, Row, compared, largest, over_seeds, row
from sftlens.strategies import DEFAULT

KNOWN = {"D0": "unknown", "D3": "known", "D4": "known"}
"""Buckets of training facts that are shown: what the base never completes, and what it mostly does."""


class Steps(Pair):
    """Few samples in several epochs against as many different ones in one: equal steps, equal schedule."""

    train_sets: Distinct[TrainSet] = Field(["repeated", "mixed"], validate_default=True)
    """Two: a recipe that repeats few facts (`repeat`, `by_pass`), and the set that its facts are drawn from. Both are
    trained at every n of `scales`, and compared at the largest; `evaluation.during` with `during_trained` shows what is
    learned meanwhile of training facts that the base knows (D3, D4) and of those that it does not know (D0)."""


def measure(answers: Answers) -> list[Row]:
    """Return the repeated set minus the other at the largest n; both against n; training facts answered by the step."""
    rows = compared(answers, "steps")
    for model in dict.fromkeys(one["Model"] for one in rows):
        shares: dict[tuple[str, int], dict[int, list[int]]] = {}
        for cell, made in answers.trainings():
            for look in made.get("during", ()):
                shown = look["split"] == "trained" and look["bucket"] in KNOWN
                if shown and (cell.model, cell.scale, cell.strategy) == (model, largest(answers.grid, model), DEFAULT):
                    place = (f"{cell.train_set}, {KNOWN[look['bucket']]}", look["step"])
                    count = shares.setdefault(place, {}).setdefault(cell.seed, [0, 0])
                    count[0] += look["right"]
                    count[1] += look["n"]
        for (series, step), counts in sorted(shares.items()):
            found = over_seeds([100 * right / n for right, n in counts.values()])
            rows.append(row(model, "Training facts answered (%), by the step", series, step, found))
    return rows


DOUBTS.add(Doubt(
    "steps", 1, "Is it the number of samples or the number of steps that harms?",
    "accuracy on ID test", "after few samples in several epochs", "after as many different samples in one",
    "Steps and schedule are equal, but few facts that are repeated are learned better than many that are seen once: "
    "the difference holds both what more facts do and what learning them less well does.",
    Steps, measure,
))  # fmt: skip
