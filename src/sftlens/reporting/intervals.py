"""Accuracies and contrasts with their intervals, as readable frames made from the answers to the questions."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sftlens.dag.cells import BASE, FEWSHOT
from sftlens.dag.contrasts import Condition, Contrast, restored
from sftlens.reporting import tables
from sftlens.results.answers import SPLITS, Answers, Questions, common
from sftlens.statistics import crossed

ACCURACY = "Accuracy (%)"
DIFFERENCE = "Difference (points)"
_PLACE = ["Model", "Strategy", "Trained on", "n", "Criterion", "Region", "Restored (%)", "Test set"]
_INTERVAL = ["Low", "High", "SE", "df", "Seeds", "Facts", "Scope", "Low by relation", "High by relation",
             "By posterior"]  # fmt: skip
_TEXT = dict.fromkeys([*_PLACE, "Against", "Scope"], "str")
_SETS = {BASE: tables.BASE, FEWSHOT: tables.FEWSHOT}
_TESTS = dict(zip(SPLITS, ("ID test", "OOD test"), strict=True))


def build(name: str, answers: Answers, contrasts: Iterable[Contrast]) -> pd.DataFrame:
    """Return a target of this room as a frame with one row per condition (or contrast) and test split, in grid order.

    Args:
        name: `intervals`, the macro accuracy of each condition, or `contrasts`, the difference of two.
        answers: the answers there are.
        contrasts: those of the grid; one whose answers are missing has no row.

    Returns:
        Text columns that name a row; the value in percent or points; `Low` and `High` (95 %), `SE`, `df`, `Seeds`,
        `Facts`; `Scope` (`over seeds`, or `this model only`, which allows no verdict); the interval that is robust to
        correlation within relations; and the value with every question in every bucket, weighted by its posterior
        bucket probabilities. NaN where a bucket is empty, and where mastery was measured without posteriors.
    """
    wide = name == "contrasts"
    rows = _differences(answers, contrasts) if wide else _accuracies(answers)
    place = [*_PLACE, "Against"] if wide else _PLACE
    return pd.DataFrame(list(rows), columns=[*place, DIFFERENCE if wide else ACCURACY, *_INTERVAL])


def read(path: Path) -> pd.DataFrame:
    """Return the frame in a file of `tables.write_csv`, at that file's precision, without its notice."""
    return pd.read_csv(path, na_values="-", keep_default_na=False, dtype=_TEXT).drop(columns="note", errors="ignore")


def _accuracies(answers: Answers) -> Iterator[dict[str, Any]]:
    for condition in answers.conditions:
        for split in SPLITS:
            y = _percent(answers.contains(condition, split))
            row = _row(ACCURACY, [y], answers.questions(condition.model, split))
            for name in ("Low", "High", "Low by relation", "High by relation"):
                row[name] = float(np.clip(row[name], 0, 100))
            yield _place(condition, split) | row


def _differences(answers: Answers, contrasts: Iterable[Contrast]) -> Iterator[dict[str, Any]]:
    for contrast in contrasts:
        for split in SPLITS:
            found = _sides(answers, contrast, split)
            if found:
                row = _row(DIFFERENCE, *found)
                yield _place(contrast.condition, split) | {"Against": contrast.against} | row


def _sides(answers: Answers, contrast: Contrast, split: str) -> tuple[list[np.ndarray], Questions] | None:
    """Return the arrays whose seeds are independent, the second to be subtracted, and their questions."""
    one, other = contrast.condition, contrast.reference
    a, b = answers.contains(one, split), answers.contains(other, split)
    shared = [seed for seed in a if seed in b]
    if not a or not b or (contrast.pairing == "seeds" and not shared):
        return None
    questions = answers.questions(one.model, split)
    if contrast.pairing == "seeds":
        return [_percent({s: a[s] for s in shared}) - _percent({s: b[s] for s in shared})], questions
    if contrast.pairing == "fixed":
        return [_percent(a) - _percent(b)], questions
    if contrast.pairing == "questions":
        return [_percent(a), _percent(b)], questions
    first, second = common(questions, answers.questions(other.model, split))
    return [_percent(a)[:, first], _percent(b)[:, second]], questions.take(first)


def _percent(answers: Mapping[int, np.ndarray]) -> np.ndarray:
    return np.stack([100.0 * y for y in answers.values()])


def _row(name: str, sides: Sequence[np.ndarray], questions: Questions) -> dict[str, Any]:
    found, clustered = (_estimate(sides, questions.buckets, labels) for labels in (None, questions.relations))
    d = sides[0].mean(axis=0) - sum(side.mean(axis=0) for side in sides[1:])
    return {
        name: found.value, "Low": found.low, "High": found.high, "SE": found.se, "df": found.df,
        "Seeds": found.seeds, "Facts": found.questions, "Scope": found.scope,
        "Low by relation": clustered.low, "High by relation": clustered.high,
        "By posterior": np.nan if questions.posterior is None else crossed.reweighted(d, questions.posterior),
    }  # fmt: skip


def _estimate(sides: Sequence[np.ndarray], buckets: np.ndarray, relations: np.ndarray | None) -> crossed.Estimate:
    if len(sides) == 1:
        return crossed.accuracy(sides[0], buckets, relations)
    return crossed.difference(sides[0], sides[1], buckets, relations)


def _place(condition: Condition, split: str) -> dict[str, str]:
    trained_on = condition.train_set if condition.trained else _SETS[condition.strategy]
    names = (condition.model, condition.strategy, trained_on, condition.scale)
    where = (condition.criterion, condition.region, restored(condition), _TESTS[split])
    return dict(zip(_PLACE, (*names, *where), strict=True))
