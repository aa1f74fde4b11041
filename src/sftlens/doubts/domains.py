"""Does it hold for other domains than the one that the paper trains on?"""

from typing import Any, Self

from pydantic import model_validator

from sftlens.config.axes import Axes, Distinct, TrainSet
from sftlens.doubts import DOUBTS, TESTS, Answers, Condition, Doubt, Row, base, contrast, largest, row

CHANGE = "Change against the base (points)"


class Domains(Axes):
    """Other relations are trained on: people and works in the place of places; `facts.relations` has both in-domain."""

    train_sets: Distinct[TrainSet] = ["other-new", "other-known", "paper-new", "paper-known"]
    """Recipes by pairs: facts of a domain that are new to the model, then facts that it knows. All parts of a recipe
    name the `relations` of its domain. The sentence is about the first pair."""

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        if not self.train_sets or len(self.train_sets) % 2:
            raise ValueError("train_sets goes by pairs, new facts of a domain and known ones; name the other one, too")
        return self


def measure(answers: Answers) -> list[Row]:
    """Return new minus known facts of each domain at the largest n, and each set's change against the base.

    Series: test questions of the relations that a set trains on, and of all others; plain means. First the relations
    that the first pair does not train on.
    """
    import numpy as np

    study, rows = answers.paths.study, []
    sets = study.experiments.domains.train_sets
    for model in study.models:
        n = largest(answers.grid, model)
        cells = {one.train_set: one for one in answers.grid if one.model == model and one.scale == n}
        parent = base(answers.grid, model)
        if not set(sets) <= set(cells) or parent is None:
            continue
        asked = np.concatenate([answers.questions(model, split).relations for split in TESTS])
        trained = {name: np.isin(asked, _relations(study, cells[name])) for name in sets}
        series = {"relations not trained on": False, "relations trained on": True}
        for label, inside in series.items():
            for new, known in zip(sets[::2], sets[1::2], strict=True):
                found = contrast(answers, cells[new], cells[known], list(TESTS), trained[new] == inside)
                rows.append(row(model, "New minus known facts (points)", label, f"{new} - {known}", found))
        for label, inside in series.items():
            for name in sets:
                found = contrast(answers, cells[name], parent, list(TESTS), trained[name] == inside)
                rows.append(row(model, CHANGE, label, name, found))
    return rows


def _relations(study: Any, one: Condition) -> list[str]:
    """Return the relations that a recipe names."""
    recipe = study.recipes.get(one.train_set)
    return sorted({name for part in recipe.parts.values() for name in part.relations}) if recipe else []


DOUBTS.add(Doubt(
    "domains", 3, "Does low mastery of the training facts harm in another domain, too: people and works, not places?",
    "accuracy on relations that were not trained on", "after new facts about people and works", "after known ones",
    "A domain here is a handful of relations, and all questions have one form; reasoning or code are not "
    "asked.",
    Domains, measure,
))  # fmt: skip
