"""Does restoring give facts back at the price of a new skill?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sftlens.config.axes import Distinct, Ratios, TrainSet
from sftlens.doubts import DOUBTS, RESTORED, Answers, Doubt, Restored, Row, largest, over_seeds, row, size
from sftlens.tasks import TASKS

if TYPE_CHECKING:
    import pandas as pd

FACTS = {"test": "facts, ID test", "testood": "facts, OOD test"}


class Skill(Restored):
    """A skill that pretraining did not teach, beside the facts, by n and by the share that is restored."""

    train_sets: Distinct[TrainSet] = ["reversal"]
    """Tasks (docs/tasks.md); the sentence is about the first one."""
    ratios: Ratios = [20, 5, 60]
    """Percent of the region's parameters; the sentence is about the first one."""


def measure(answers: Answers) -> list[Row]:
    """Return what restoring changes in facts minus in the skill, both in points, then each of them by k and by n."""
    study, rows = answers.paths.study, []
    axes = study.experiments.skill
    table = answers.results
    restored = table["criterion"].isin(["", RESTORED]) & table["region"].isin(["", axes.regions[0]])
    table = table[(table["relation"] == "") & restored]
    for model in study.models:
        n, own = largest(answers.grid, model), table[table["model"] == model]
        for task in axes.train_sets:
            score = TASKS.get(task).score
            tuned = _values(own, task, n, None, task, score)
            if not tuned:
                continue
            changes = {}
            for k in axes.ratios:
                changes[k] = {
                    split: _minus(_values(own, task, n, k, split, score), _values(own, task, n, None, split, score))
                    for split in (*FACTS, task)
                }
            for k, change in changes.items():
                for split, name in FACTS.items():
                    both = _minus(change[split], change[task])
                    quantity = "Restoring k %: facts minus skill (points), by k"
                    rows.append(row(model, quantity, f"{name}, {task}", f"{k:g}", over_seeds(both.values())))
            for split, name in {task: "skill", **FACTS}.items():
                for k in sorted(changes):
                    found = over_seeds(changes[k][split].values())
                    rows.append(row(model, "Restoring k % changes (points), by k", f"{name}, {task}", f"{k:g}", found))
            scales = sorted(set(own[own["train_set"] == task]["scale"]), key=size)
            for split, name in {task: "skill", **FACTS}.items():
                for scale in ("0", *scales):
                    values = _values(own, task if scale != "0" else "base", scale, None, split, score)
                    found = over_seeds(values.values())
                    rows.append(row(model, "Score (%), by n", f"{name}, {task}", scale, found))
    return rows


def _values(
    table: pd.DataFrame, train_set: str, n: str, ratio: float | None, split: str, score: str
) -> dict[int, float]:
    """Return by seed, in percent, the skill's score or the macro accuracy of a split."""
    metric, bucket = ("contains", "macro") if split in FACTS else (score, "all")
    rows = table[
        (table["train_set"] == train_set) & (table["scale"] == n) & (table["split"] == split)
        & (table["metric"] == metric) & (table["bucket"] == bucket) & table["stage"].isin(["evaluate", "restore"])
        & (table["ratio"].isna() if ratio is None else table["ratio"] == ratio)
    ].dropna(subset=["value"])  # fmt: skip
    return {int(seed): 100.0 * float(value) for seed, value in zip(rows["seed"], rows["value"], strict=True)}


def _minus(one: dict[int, float], other: dict[int, float]) -> dict[int, float]:
    return {seed: value - other[seed] for seed, value in one.items() if seed in other}


def check(study: Any, axes: Skill) -> None:
    """Refuse a training set that is no task."""
    for name in axes.train_sets:
        if name not in study.tasks:
            raise ValueError(f"train_sets: {name!r} is no task; give its files under `tasks.{name}`, or take it out")


DOUBTS.add(Doubt(
    "skill", 4, "Does restoring give facts back at the price of a new skill?",
    "the change by restoring {k} %", "in facts on ID test", "in the skill",
    "One procedural skill, learned by one recipe: where the skill was not learned, or no fact was lost, there is "
    "nothing to give back. Its score and an accuracy are different units of one name.",
    Skill, measure, check=check,
))  # fmt: skip
