"""Does it matter who wrote the answers: the model itself, or the data set?"""

from pathlib import Path
from typing import Any

from pydantic import Field

from sftlens import files
from sftlens.config.axes import Distinct, TrainSet
from sftlens.data import training_sets
from sftlens.doubts import DOUBTS, Answers, Doubt, Pair, Row, compared
from sftlens.errors import DataError


class Own(Pair):
    """Training on the model's own correct answers against the gold answers of the same facts."""

    train_sets: Distinct[TrainSet] = Field(["own", "gold"], validate_default=True)
    """Two recipes of the same buckets, of which the first has `answers: own`; no D0, which has no own answer."""


def measure(answers: Answers) -> list[Row]:
    """Return own minus gold answers at the largest n, and both against n.

    Raises DataError where the two were not trained on the same facts.
    """
    root, sets = Path(answers.paths.root), answers.paths.study.experiments.own.train_sets
    for model, n, seed in dict.fromkeys((cell.model, cell.scale, cell.seed) for cell, _ in answers.trainings()):
        taken = []
        for train_set in sets:
            path = root / model / train_set / f"order-seed{seed}.parquet"
            if path.is_file():  # in a part of a study one of them may be missing
                order = training_sets.take(files.read_parquet(path, ["fact_id"]), n, allow_smaller=True)
                taken.append(set(order["fact_id"]))
        if len(taken) == 2 and taken[0] != taken[1]:
            raise DataError(
                f"experiments.own: {' and '.join(sets)} are not of the same facts at n = {n}, seed {seed}; give both "
                "recipes the same buckets, without D0"
            )
    return compared(answers, "own")


def check(study: Any, axes: Own) -> None:
    """Refuse a first training set that has no answers of the model's own."""
    name = axes.train_sets[0]
    recipe = study.recipes.get(name)
    if not recipe or not any(part.answers == "own" for part in recipe.parts.values()):
        raise ValueError(
            f"train_sets: {name!r} comes first and has no answers of the model's own; give a part of "
            f"recipes.{name} `answers: own`"
        )


DOUBTS.add(Doubt(
    "own", 9, "Does training on the model's own right answers harm less than training on gold answers?",
    "accuracy on ID test", "after the model's own right answers", "after the gold answers of the same facts",
    "An own answer is the most frequent right completion of a sentence, and may go on after the name; a gold answer is "
    "the name alone. Facts that the model never gets right have no own answer and are in neither set.",
    Own, measure, check=check,
))  # fmt: skip
