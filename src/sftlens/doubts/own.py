"""Does it matter who wrote the answers: the model itself, or the data set?"""

from pathlib import Path

from pydantic import Field

from sftlens import files
from sftlens.config.axes import Distinct, TrainSet
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
            order = files.read_parquet(root / model / train_set / f"order-seed{seed}.parquet", ["fact_id"])
            taken.append(set(order["fact_id"] if n == "all" else order["fact_id"].head(int(n))))
        if taken[0] != taken[1]:
            raise DataError(
                f"experiments.own: {' and '.join(sets)} are not of the same facts at n = {n}, seed {seed}; give both "
                "recipes the same buckets, without D0"
            )
    return compared(answers, "own")


DOUBTS.add(Doubt(
    "own", 9, "Does training on the model's own right answers harm less than training on gold answers?",
    "accuracy on ID test", "after the model's own right answers", "after the gold answers of the same facts",
    "An own answer is the most frequent right completion of a sentence, and may go on after the name; a gold answer is "
    "the name alone. Facts that the model never gets right have no own answer and are in neither set.",
    Own, measure,
))  # fmt: skip
