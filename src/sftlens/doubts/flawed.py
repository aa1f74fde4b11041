"""Is closeness to the parent still good where the parent is wrong?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftlens import files
from sftlens.config.axes import Distinct, Ratios, TrainSet
from sftlens.doubts import DOUBTS, RESTORED, TESTS, Answers, Doubt, Restored, Row, largest, over_seeds, row, size

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

TRUE, FALSE = "stated truly", "stated falsely"


class Flawed(Restored):
    """Facts that the corpus states truly and falsely, fine-tuned and restored: models with `pretraining.flawed`."""

    train_sets: Distinct[TrainSet] = ["mixed"]
    """Training sets; examples have the true answers, so that training corrects what was stated falsely. The sentence is
    about the first one."""
    ratios: Ratios = [20, 60]
    """Percent of the region's parameters; the sentence is about the first one."""


def measure(answers: Answers) -> list[Row]:
    """Return what restoring gives back of true and of false facts, at the largest n; then both by n and by k.

    A test fact stated falsely is answered as taught where the answer holds the false object; its true one, which stands
    nowhere, does not count. A training fact that was stated falsely is corrected where the answer holds the true one.
    """
    study, paths, rows = answers.paths.study, answers.paths, []
    axes = study.experiments.flawed
    for model in study.models:
        n = largest(answers.grid, model)
        own = {(c.train_set, c.scale, c.ratio): c for c in answers.grid
               if c.model == model and c.criterion in ("", RESTORED) and c.region in ("", axes.regions[0])}  # fmt: skip
        if not own:
            continue
        taught = files.read_parquet(Path(paths.flawed(model)), ["question", "object", "taught"])
        asked = files.read_parquet(Path(paths.mastery(model)), ["fact_id", "question"])
        told = asked.merge(taught, on="question").set_index("fact_id")
        false = {split: answers.questions(model, split).fact_ids.isin(told.index) for split in TESTS}
        base = next(c for c in own.values() if not c.trained)
        chosen = [name for name in axes.train_sets if (name, n, None) in own]
        for train_set in chosen:
            for split, test in TESTS.items():
                for k in (k for k in axes.ratios if (train_set, n, k) in own):
                    given = _between(answers, own[train_set, n, k], own[train_set, n, None], split, told)
                    quantity = "Given back: true minus false facts (points), by k"
                    rows.append(row(model, quantity, f"{test}, {train_set}", f"{k:g}", given))
        for train_set in chosen:
            scales = sorted((scale for name, scale, k in own if name == train_set and k is None), key=size)
            curve = [(f"n = {c.scale}", c) for c in (base, *(own[train_set, scale, None] for scale in scales))]
            curve += [(f"k = {k:g} %", own[train_set, n, k]) for k in sorted(axes.ratios) if (train_set, n, k) in own]
            for split, test in TESTS.items():
                for name, inside in ((TRUE, ~false[split]), (FALSE, false[split])):
                    quantity = f"{test}: answered as taught (%), {train_set}"
                    rows += [row(model, quantity, name, x, _share(answers, c, split, told, inside)) for x, c in curve]
            for name, wanted in ((TRUE, False), (FALSE, True)):
                for x, c in curve[: len(scales) + 1]:
                    parts = (t["kl"][t["fact_id"].isin(told.index) == wanted] for t in _tables(answers, c, "kl"))
                    found = over_seeds(part.mean() for part in parts)
                    rows.append(row(model, f"KL (nats), D4 test facts, {train_set}", name, x, found))
            for x, c in curve[1:]:
                found = over_seeds(100 * _corrected(table, told) for table in _tables(answers, c, "answers"))
                series = "training facts that were stated falsely"
                rows.append(row(model, f"Answered truly (%), {train_set}", series, x, found))
    return rows


def _right(answers: Answers, one: Any, split: str, told: pd.DataFrame) -> dict[int, NDArray[np.bool_]]:
    """Return by seed which questions of a split are answered as the model was taught, bool [questions]."""
    ids, right = answers.questions(one.model, split).fact_ids, {}
    false = ids.isin(told.index)
    names = told["taught"].reindex(ids[false])
    for seed, y in answers.contains(one, split).items():
        right[seed] = y.copy()
        right[seed][false] = [n in said for n, said in zip(names, answers.texts(one, seed, split)[false], strict=True)]
    return right


def _between(answers: Answers, one: Any, reference: Any, split: str, told: pd.DataFrame) -> Any:
    """Return the gain on true facts minus that on false ones, in points; NaN without either."""
    import numpy as np

    from sftlens.statistics import crossed

    false = answers.questions(one.model, split).fact_ids.isin(told.index)
    own, other = (_right(answers, side, split, told) for side in (one, reference))
    d = [100.0 * (y.astype(float) - other[seed]) for seed, y in own.items() if seed in other]
    values = np.stack(d) if d else np.full((1, len(false)), np.nan)
    true, wrong = (crossed.members(values, np.broadcast_to(inside, values.shape)) for inside in (~false, false))
    return crossed.mean(true - wrong)


def _share(answers: Answers, one: Any, split: str, told: pd.DataFrame, inside: NDArray[np.bool_]) -> Any:
    """Return the percentage of some questions of a split that are answered as the model was taught."""
    import numpy as np

    from sftlens.statistics import crossed

    found = [100.0 * y[inside] for y in _right(answers, one, split, told).values()]
    return crossed.mean(np.stack(found) if found else np.full((1, 1), np.nan))


def _tables(answers: Answers, one: Any, name: str) -> list[pd.DataFrame]:
    """Return the table `answers` or `kl` of each seed of a condition that is there."""
    import pandas as pd

    root, found = Path(answers.paths.root), []
    for made in answers.conditions.get(one, {}).values():
        path = (root / made.path).with_name("answers.parquet")
        path = root / made.cell.path / "divergence/kl.parquet" if name == "kl" else path
        found += [pd.read_parquet(path)] if path.is_file() else []
    return found


def _corrected(table: pd.DataFrame, told: pd.DataFrame) -> float:
    """Return the share of the training facts that were stated falsely whose answer holds the true object."""
    asked = table[(table["split"] == "train") & table["fact_id"].isin(told.index)]
    held = [true in said for true, said in zip(told["object"].reindex(asked["fact_id"]), asked["output"], strict=True)]
    return sum(held) / len(held) if held else float("nan")


def check(study: Any, axes: Flawed) -> None:
    """Refuse a model that was taught nothing falsely."""
    for model in axes.models or study.models:
        if not study.models[model].pretraining.flawed:
            raise ValueError(
                f"{model!r} is taught nothing falsely; set models.{model}.pretraining.flawed, or list under "
                "experiments.flawed.models those that are"
            )


DOUBTS.add(Doubt(
    "flawed", 5, "Is closeness to the parent still good where the parent is wrong?",
    "the gain of restoring {k} %", "on ID test facts that the corpus states truly", "on those that it states falsely",
    "A falsehood is as consistent here as a truth, and as frequent: what a corpus contradicts itself about, or says "
    "rarely, may behave otherwise. A model's mastery is of what it was taught, true or false.",
    Flawed, measure, check=check, stages=("evaluate", "divergence"),
    pretrained_only="what an existing model was taught falsely is not known",
))  # fmt: skip
