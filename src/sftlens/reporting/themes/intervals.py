"""Accuracies and contrasts with their intervals, made from the answers to the questions (method: docs/statistics)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sftlens.dag.cells import BASE, FEWSHOT
from sftlens.dag.contrasts import Condition, Contrast, contrasts, restored
from sftlens.dag.targets import ANSWERS, TARGETS, Target
from sftlens.reporting import frames
from sftlens.reporting.frames import ACCURACY, RATIO

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from sftlens.results.answers import Answers, Questions
    from sftlens.statistics import crossed

DIFFERENCE = "Difference (points)"
PLACE = ["Model", "Strategy", "Trained on", "n", "Criterion", "Region", RATIO, "Test set"]
_INTERVAL = ["Low", "High", "SE", "df", "Seeds", "Facts", "Scope", "Low by relation", "High by relation",
             "By posterior"]  # fmt: skip
_SETS = {BASE: frames.BASE, FEWSHOT: frames.FEWSHOT}


def intervals(answers: Answers) -> pd.DataFrame:
    """Return the macro accuracy of each condition and test split, one row each, in grid order.

    Columns: text that names the row; the value in percent; `Low` and `High` (95 %), `SE`, `df`, `Seeds`, `Facts`;
    `Scope` (`over seeds`, or `this model only`, which allows no verdict); the interval that is robust to correlation
    within relations; and the value with every question in every bucket, weighted by its posterior bucket probabilities.
    NaN where a bucket is empty, and where mastery was measured without posteriors.
    """
    import numpy as np
    import pandas as pd

    rows = []
    for condition in answers.conditions:
        for split in frames.TESTS:
            y = _percent(answers.contains(condition, split))
            row = _row(ACCURACY, [y], answers.questions(condition.model, split))
            for name in ("Low", "High", "Low by relation", "High by relation"):
                row[name] = float(np.clip(row[name], 0, 100))
            rows.append(place(condition, split) | row)
    return pd.DataFrame(rows, columns=[*PLACE, ACCURACY, *_INTERVAL])


def differences(answers: Answers) -> pd.DataFrame:
    """Return the contrasts of the grid, a row per test split, in points; one whose answers are missing has no row.

    Columns as in `intervals`, and `Against`.
    """
    import pandas as pd

    rows = []
    for contrast in contrasts(answers.grid):
        for split in frames.TESTS:
            if found := _sides(answers, contrast, split):
                row = {"Against": contrast.against} | _row(DIFFERENCE, *found)
                rows.append(place(contrast.condition, split) | row)
    return pd.DataFrame(rows, columns=[*PLACE, "Against", DIFFERENCE, *_INTERVAL])


def _sides(answers: Answers, contrast: Contrast, split: str) -> tuple[list[np.ndarray], Questions] | None:
    """Return the arrays whose seeds are independent, the second to be subtracted, and their questions."""
    from sftlens.results.answers import common

    one, other = contrast.condition, contrast.reference
    a, b = answers.contains(one, split), answers.contains(other, split)
    if contrast.pairing == "seeds":
        a, b = {seed: a[seed] for seed in a if seed in b}, {seed: b[seed] for seed in a if seed in b}
    if not a or not b:
        return None
    questions, first, second = answers.questions(one.model, split), _percent(a), _percent(b)
    if contrast.pairing in ("seeds", "fixed"):
        return [first - second], questions
    if contrast.pairing == "questions":
        return [first, second], questions
    here, there = common(questions, answers.questions(other.model, split))
    return [first[:, here], second[:, there]], questions.take(here)


def _percent(answers: Mapping[int, np.ndarray]) -> np.ndarray:
    import numpy as np

    return np.stack([100.0 * y for y in answers.values()])


def _row(name: str, sides: Sequence[np.ndarray], questions: Questions) -> dict[str, Any]:
    import numpy as np

    from sftlens.statistics import crossed

    def estimate(relations: np.ndarray | None) -> crossed.Estimate:
        if len(sides) == 1:
            return crossed.accuracy(sides[0], questions.buckets, relations)
        return crossed.difference(sides[0], sides[1], questions.buckets, relations)

    found, clustered = estimate(None), estimate(questions.relations)
    d = sides[0].mean(axis=0) - sum(side.mean(axis=0) for side in sides[1:])
    return {
        name: found.value, "Low": found.low, "High": found.high, "SE": found.se, "df": found.df,
        "Seeds": found.seeds, "Facts": found.questions, "Scope": found.scope,
        "Low by relation": clustered.low, "High by relation": clustered.high,
        "By posterior": np.nan if questions.posterior is None else crossed.reweighted(d, questions.posterior),
    }  # fmt: skip


def place(condition: Condition, split: str) -> dict[str, str]:
    trained_on = condition.train_set if condition.trained else _SETS[condition.strategy]
    names = (condition.model, condition.strategy, trained_on, condition.scale)
    where = (condition.criterion, condition.region, restored(condition), frames.SPLITS[split])
    return dict(zip(PLACE, (*names, *where), strict=True))


TARGETS.add(Target(
    "intervals", 90, ANSWERS, "Accuracies with their intervals",
    "Macro accuracy in percent of every model that answered, with a 95 % t interval (Satterthwaite) in which "
    "questions are crossed with seeds: the variance of the seeds' values, and the variance over questions of the "
    "answers' mean over seeds. With fewer than three seeds the interval covers the questions alone, speaks of this "
    "model only and allows no verdict. By relation: the same, robust to correlation among questions of one "
    "relation. By posterior: each question counts in every bucket with the probability that it belongs there, "
    "given its mastery probes (- where these were imported without it). A dash: a bucket is empty or has one question.",
    intervals, folded=True,
))  # fmt: skip
TARGETS.add(Target(
    "contrasts", 92, ANSWERS, "Differences with their intervals",
    "Each row's model minus the one it stands against, in points of macro accuracy, paired on questions: against "
    "the base model, the smallest n and k = 0 (the same seeds), and D0 (seeds of its own, whose variances add "
    "up). Models are compared on common facts: those that lie in the same bucket for both. Columns as above. "
    "Each interval is 95 % by itself; of many, some miss.",
    differences, folded=True,
))  # fmt: skip
