"""Does a model that is full of facts lose more, or gain less from restoring?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sftlens import files
from sftlens.config.axes import Distinct, Ratios, TrainSet
from sftlens.doubts import (
    DOUBTS,
    RESTORED,
    TESTS,
    Answers,
    Doubt,
    Restored,
    Row,
    changes,
    contrast,
    ends,
    largest,
    over_seeds,
    row,
)


class Capacity(Restored):
    """One world in models of several sizes: what training takes and what restoring gives, by facts per parameter."""

    train_sets: Distinct[TrainSet] = ["mixed"]
    """Training sets; the sentence is about the first one."""
    ratios: Ratios = [20]
    """Percent of the region's parameters."""


def measure(answers: Answers) -> list[Row]:
    """Return the change from the smallest n (the base, where there is one n) to the largest, and what restoring adds.

    All rows are of the models together; first the change in the smallest model minus that in the largest.
    """
    study, rows = answers.paths.study, []
    axes = study.experiments.capacity
    found: list[tuple[float, str]] = []
    for model in {one.model: None for one in answers.grid}:
        facts = files.read_parquet(Path(answers.paths.exposures), ["exposure"])
        found.append((1000.0 * int((facts["exposure"] > 0).sum()) / study.models[model].shape.parameters, model))
    found.sort(reverse=True)
    name = ", ".join(model for _, model in found)
    for train_set in axes.train_sets:
        pairs = {model: pair for _, model in found if (pair := ends(answers.grid, model, train_set))}
        if not found or len(pairs) < max(2, len(found)):
            continue
        (_, full), (_, roomy) = found[0], found[-1]
        n = largest(answers.grid, full)
        start = pairs[full][0].scale
        said = f"Change from n = {start} to {n} (points)"
        for split, test in TESTS.items():
            quantity = f"{said}: smallest minus largest"
            rows.append(
                row(name, quantity, f"{test}, {train_set}", n, _between(answers, pairs[full], pairs[roomy], split))
            )
        for split, test in TESTS.items():
            for _, model in found:
                before, last = pairs[model]
                change = contrast(answers, last, before, split)
                rows.append(row(name, f"{said}, by model", f"{test}, {train_set}", model, change))
        for split, test in TESTS.items():
            for k in axes.ratios:
                for _, model in found:
                    restored = next(
                        (one for one in answers.grid if (one.model, one.train_set, one.scale, one.criterion, one.ratio)
                         == (model, train_set, n, RESTORED, k)), None,
                    )  # fmt: skip
                    if restored:
                        quantity = f"Restoring {k:g} % adds (points), by model"
                        gain = contrast(answers, restored, pairs[model][1], split)
                        rows.append(row(name, quantity, f"{test}, {train_set}", model, gain))
    # Worlds differ a little in their facts, so that models, not densities, are what their rows have in common.
    sizes = [row(name, "Facts per 1,000 parameters", "stated facts", m, over_seeds([density])) for density, m in found]
    return rows + sizes if rows else []


def _between(answers: Answers, one: Any, other: Any, split: str) -> Any:
    """Return the change of one model minus that of another on all questions of a split, in points.

    Paired on questions, which are the same, and on seeds.
    """
    import numpy as np

    from sftlens.statistics import crossed

    place = answers.questions(other[1].model, split).fact_ids.get_indexer(
        answers.questions(one[1].model, split).fact_ids
    )
    own, its = (changes(answers, last, before, split) for before, last in (one, other))
    d = [y - its[seed][place] for seed, y in own.items() if seed in its]
    return crossed.mean(np.stack(d) if d else np.full((1, len(place)), np.nan))


def check(study: Any, axes: Capacity) -> None:
    """Refuse a single model, which is neither small nor large."""
    if len(axes.models or study.models) < 2:
        raise ValueError("models of several sizes are compared; add another one under `models`")


DOUBTS.add(Doubt(
    "capacity", 8, "Does a model that is full of facts lose more by training?",
    "the change of accuracy on ID test from the smallest n to the largest", "in the smallest model",
    "in the largest model",
    "Models of several sizes differ in more than facts per parameter: a smaller one also knows fewer of the facts, and "
    "one learning rate may suit it less.",
    Capacity, measure, check=check, pretrained_only="how many facts an existing model was taught is not known",
))  # fmt: skip
