"""Does restoring give facts back at the price of a new skill?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sftlens.config.axes import Distinct, Ratios, Restoration, TrainSet
from sftlens.doubts import DOUBTS, Answers, Doubt, Row, largest, over_seeds, row
from sftlens.tasks import TASKS

if TYPE_CHECKING:
    import pandas as pd

RESTORED = "relative"
FACTS = {"test": "facts, ID test", "testood": "facts, OOD test"}


class Skill(Restoration):
    """A skill that pretraining did not teach, beside the facts, by n and by the share that is restored."""

    train_sets: Distinct[TrainSet] = ["reversal"]
    """Tasks (docs/tasks.md); the sentence is about the first one."""
    ratios: Ratios = [20, 5, 60]
    """Percent of the region's parameters; the sentence is about the first one."""


def measure(answers: Answers) -> list[Row]:
    """Return what restoring changes in facts minus in the skill, both in points, then each of them by k and by n."""
    study, rows = answers.paths.study, []
    axes = study.experiments.skill
    table = answers.results[(answers.results["relation"] == "") & answers.results["criterion"].isin(["", RESTORED])]
    for model in study.models:
        n, own = largest(answers.grid, model), table[table["model"] == model]
        for task in (name for name in axes.train_sets if name in study.tasks):
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
            for k, found in changes.items():
                for split, name in FACTS.items():
                    both = _minus(found[split], found[task])
                    quantity = "Restoring k %: facts minus skill (points), by k"
                    rows.append(row(model, quantity, f"{name}, {task}", f"{k:g}", _mean(both)))
            for split, name in {task: "skill", **FACTS}.items():
                for k in sorted(changes):
                    found = _mean(changes[k][split])
                    rows.append(row(model, "Restoring k % changes (points), by k", f"{name}, {task}", f"{k:g}", found))
            scales = sorted(set(own[own["train_set"] == task]["scale"]), key=lambda x: (x == "all", x.rjust(20)))
            for split, name in {task: "skill", **FACTS}.items():
                for scale in ("0", *scales):
                    found = _mean(_values(own, task if scale != "0" else "base", scale, None, split, score))
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


def _mean(found: dict[int, float]) -> Any:
    return over_seeds(list(found.values()) or [float("nan")])


DOUBTS.add(Doubt(
    "skill", 4, "Does restoring give facts back at the price of a new skill?",
    "what restoring k % changes", "in facts on ID test", "in the skill",
    "One procedural skill, learned by one recipe: where the skill was not learned, or no fact was lost, there is "
    "nothing to give back. Its score and an accuracy are different units of one name.",
    Skill, measure,
))  # fmt: skip
