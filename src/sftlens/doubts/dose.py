"""How much of the training data may be new to the model, where it lies, and when it comes."""

from typing import Any

from sftlens.config.axes import Axes, Distinct, TrainSet
from sftlens.doubts import DOUBTS, TESTS, Answers, Condition, Doubt, Row, base, contrast, largest, row

CHANGE = "Change against the base (points), by percent of D0"
BESIDE = "Minus the mix of the same dose (points)"


class Dose(Axes):
    """The share of facts that are new to the model (D0), at equal n; where they lie, and when they come."""

    train_sets: Distinct[TrainSet] = ["D0"]
    """Recipes with parts of bucket D0 and of others. Those that mix all their rows are the series; one that takes its
    D0 facts from some `relations`, or trains its parts in an `order`, is compared with the mix of the same dose."""


def measure(answers: Answers) -> list[Row]:
    """Return changes against the base by the percent of D0 at the largest n, and what place and order add.

    First the mix with the most D0 minus that with the least.
    """
    study, rows = answers.paths.study, []
    for model in study.models:
        n = largest(answers.grid, model)
        cells = [one for one in answers.grid if one.model == model and one.scale == n]
        parent = base(answers.grid, model)
        doses = {one: _dose(study, one) for one in cells}
        mixes = sorted((one for one in cells if _mixes(study, one)), key=doses.__getitem__)
        if len(mixes) < 2 or parent is None:
            continue
        most, least = mixes[-1], mixes[0]
        for split, test in TESTS.items():
            quantity = f"{doses[most]:g} % minus {doses[least]:g} % of D0 (points), by n"
            rows.append(row(model, quantity, test, n, contrast(answers, most, least, split)))
        for split, test in TESTS.items():
            for one in mixes:
                rows.append(row(model, CHANGE, test, f"{doses[one]:g}", contrast(answers, one, parent, split)))
        alike = {doses[one]: one for one in mixes}
        for split, test in TESTS.items():
            for one in (one for one in cells if one not in mixes and doses[one] in alike):
                rows.append(row(model, BESIDE, test, one.train_set, contrast(answers, one, alike[doses[one]], split)))
    return rows


def _dose(study: Any, one: Condition) -> float:
    """Return the percent of the rows that are of D0 by the recipe; a part of several buckets counts as none."""
    if recipe := study.recipes.get(one.train_set):
        return float(sum(part.share for part in recipe.parts.values() if part.buckets == ["D0"] and not part.file))
    return 100.0 if one.train_set == "D0" else 0.0


def _mixes(study: Any, one: Condition) -> bool:
    recipe = study.recipes.get(one.train_set)
    return not recipe or not (recipe.order or any(p.relations or p.except_relations for p in recipe.parts.values()))


DOUBTS.add(Doubt(
    "dose", 2, "How much do facts that are new to the model harm, and does it matter where they lie or when they come?",
    "accuracy on ID test", "after training on facts that are new to the model", "after training on facts that it knows",
    "The more facts of a mix are new, the fewer known ones it has: the two effects are one number. New facts in one "
    "relation are also new facts of one kind. The learning rate falls, so that what comes first also moves the model "
    "most.",
    Dose, measure,
))  # fmt: skip
