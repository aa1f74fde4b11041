"""The answers of a study, question by question, as arrays that conditions can be compared in."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sftlens import files
from sftlens.config.study import Study
from sftlens.dag.cells import Cell, Product
from sftlens.dag.contrasts import ANSWERED, Condition, conditions
from sftlens.dag.paths import Paths
from sftlens.data.buckets import BUCKETS
from sftlens.data.scoring import guessed
from sftlens.errors import DataError
from sftlens.results.unfinished import made

ANSWERS = "answers.parquet"
SPLITS = ("test", "testood")
POSTERIOR = [f"posterior_{name}" for name in BUCKETS]


@dataclass(frozen=True)
class Questions:
    """The test questions of one split, as one base model masters them."""

    fact_ids: pd.Index
    buckets: np.ndarray
    """int64 [questions]: 0..4; -1 where the bucket is unknown."""
    relations: np.ndarray
    """Labels [questions]."""
    posterior: np.ndarray | None
    """float64 [questions, 5]: P(bucket | hits); None where mastery was measured without it."""
    guessed: np.ndarray | None
    """bool [questions]: whether the majority guess answers it; None where the mastery table has no objects."""

    def take(self, places: np.ndarray) -> "Questions":
        """Return some of the questions, by position."""
        posterior, guessed = (None if part is None else part[places] for part in (self.posterior, self.guessed))
        return Questions(self.fact_ids[places], self.buckets[places], self.relations[places], posterior, guessed)


def there(paths: Paths, product: Product) -> bool:
    """Whether a product has a summary that counts, and the answers beside it where its stage leaves any."""
    path = Path(paths.summary(product)).with_name(ANSWERS)
    return made(paths, product) and (path.is_file() or product.stage not in ANSWERED)


class Answers:
    """Answers of those products that have them, read on demand."""

    def __init__(
        self, study: Study, products: Iterable[Product], results: pd.DataFrame, grid: Iterable[Product] = ()
    ) -> None:
        """Read the answers of `products`; `grid`: all that the study asks for, where some of them are missing.

        `results` is the tidy table of the same products, for what is made of both.
        """
        self.paths, self.results, self._products = Paths(study), results, list(products)
        self.conditions = conditions(self._products)
        self.grid = conditions(grid) or self.conditions
        self.questions = cache(self._questions)
        self._read = cache(self._parts)

    def contains(self, condition: Condition, split: str) -> dict[int, np.ndarray]:
        """Return, by seed, whether each of `questions(model, split)` was answered correctly.

        Raises DataError when the answers are of other questions than the mastery table.
        """
        return {seed: self._read(product)[split] for seed, product in self.conditions.get(condition, {}).items()}

    def scores(self, condition: Condition, task: str, metric: str) -> dict[int, np.ndarray]:
        """Return, by seed, the scores of a task's test examples, in [0, 1], in the order of their fact_id."""
        found = {}
        for seed, product in self.conditions.get(condition, {}).items():
            path = Path(self.paths.summary(product)).with_name(ANSWERS)
            table = files.read_parquet(path, ["fact_id", "split", metric])
            found[seed] = table[table["split"] == task].sort_values("fact_id")[metric].to_numpy("float64")
        return found

    def trainings(self) -> list[tuple[Cell, dict[str, Any]]]:
        """Return the cells of the trainings among the products, each with its summary, in the order of the grid."""
        found = [product for product in self._products if product.stage == "finetune"]
        return [(product.cell, files.read_json(Path(self.paths.summary(product)), dict[str, Any])) for product in found]

    def _parts(self, product: Product) -> dict[str, np.ndarray]:
        path = Path(self.paths.summary(product)).with_name(ANSWERS)
        table = files.read_parquet(path, ["fact_id", "split", "contains"])
        found = {}
        for split in SPLITS:
            part = table[table["split"] == split]
            answered, wanted = pd.Index(part["fact_id"]), self.questions(product.cell.model, split).fact_ids
            places = answered.get_indexer(wanted) if answered.is_unique else np.array([-1])
            if len(answered) != len(wanted) or (places < 0).any():
                raise DataError(
                    f"{path}: its {split} questions are not those of {self.paths.mastery(product.cell.model)}; "
                    "delete it and run the workflow again"
                )
            found[split] = part["contains"].to_numpy(dtype=bool)[places]
        return found

    def _questions(self, model: str, split: str) -> Questions:
        path = Path(self.paths.mastery(model))
        table = files.read_parquet(path, ["fact_id", "split", "relation", "bucket"], [*POSTERIOR, "object", "aliases"])
        train, table = table[table["split"] == "train"], table[table["split"] == split]
        posterior = table[POSTERIOR].to_numpy("float64") if set(POSTERIOR) <= set(table) else None
        codes = pd.Categorical(table["bucket"], categories=list(BUCKETS)).codes.astype(np.int64)
        guess = np.array(guessed(table, train), dtype=bool) if "object" in table else None
        return Questions(pd.Index(table["fact_id"]), codes, table["relation"].to_numpy(dtype=str), posterior, guess)

    def texts(self, condition: Condition, seed: int, split: str) -> np.ndarray:
        """Return what a model said to each of `questions(model, split)`, texts [questions]."""
        path = Path(self.paths.summary(self.conditions[condition][seed])).with_name(ANSWERS)
        table = files.read_parquet(path, ["fact_id", "split", "output"])
        said = table[table["split"] == split].set_index("fact_id")["output"]
        return said.reindex(self.questions(condition.model, split).fact_ids).to_numpy(dtype=str)

    def wording(self, model: str, split: str) -> pd.DataFrame:
        """Return question and aliases (list of accepted answers) of each of `questions(model, split)`, in their order.

        No rows where the mastery table has no questions.
        """
        path = Path(self.paths.mastery(model))
        table = files.read_parquet(path, ["split"], ["question", "aliases"])
        there = {"question", "aliases"} <= set(table)
        return table[table["split"] == split].reset_index(drop=True) if there else table.head(0)


def common(a: Questions, b: Questions) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions in `a` and in `b` of the facts that both models have, in the same bucket.

    A fact that one model masters and the other does not would compare buckets that mean different things.
    """
    places = b.fact_ids.get_indexer(a.fact_ids)
    same = (places >= 0) & (a.buckets == b.buckets[places])
    return np.flatnonzero(same), places[same]
