"""Accuracies and contrasts with their intervals, made from the answers to the questions (method: docs/statistics)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sftlens.dag.cells import BASE, FEWSHOT, INSTRUCT
from sftlens.dag.contrasts import Condition, Contrast, contrasts, restored
from sftlens.dag.targets import ANSWERS, TARGETS, Chart, Target
from sftlens.reporting import frames, maps, style
from sftlens.reporting.frames import ACCURACY, RATIO
from sftlens.strategies import DEFAULT

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure

    from sftlens.results.answers import Answers, Questions
    from sftlens.statistics import crossed

DIFFERENCE = "Difference (points)"
PLACE = ["Model", "Strategy", "Trained on", "n", "Criterion", "Region", RATIO, "Test set"]
_INTERVAL = ["Low", "High", "SE", "df", "Seeds", "Facts", "Scope", "Low by relation", "High by relation",
             "By posterior"]  # fmt: skip
_SETS = {BASE: frames.BASE, FEWSHOT: frames.FEWSHOT, INSTRUCT: frames.INSTRUCT}


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


def differences(answers: Answers, against: str = "") -> pd.DataFrame:
    """Return the contrasts of the grid, a row per test split, in points; one whose answers are missing has no row.

    Columns as in `intervals`, and `Against`: all of them, or one alone.
    """
    import pandas as pd

    rows = []
    for contrast in [one for one in answered(answers) if against in ("", one.against)]:
        for split in frames.TESTS:
            a, b, questions = aligned(answers, contrast, split)
            if a:
                first, second = _percent(a), _percent(b)
                # Arrays whose seeds are independent, the second to be subtracted.
                sides = [first - second] if contrast.pairing in ("seeds", "fixed") else [first, second]
                row = {"Against": contrast.against} | _row(DIFFERENCE, sides, questions)
                rows.append(place(contrast.condition, split) | row)
    return pd.DataFrame(rows, columns=[*PLACE, "Against", DIFFERENCE, *_INTERVAL])


def answered(answers: Answers) -> list[Contrast]:
    """Return the contrasts of the grid whose both sides have answers; without any, there may be no questions either."""
    there = answers.conditions.keys()
    return [one for one in contrasts(answers.grid) if {one.condition, one.reference} <= there]


def aligned(
    answers: Answers, contrast: Contrast, split: str
) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray], Questions]:
    """Return what the model and the reference of an `answered` contrast answered rightly, by seed, and the questions.

    Each is bool [questions]. Of pairs by seeds, the seeds that both have; of two models, the facts that both have.
    """
    from sftlens.results.answers import common

    one, other = contrast.condition, contrast.reference
    questions = answers.questions(one.model, split)
    a, b = answers.contains(one, split), answers.contains(other, split)
    if contrast.pairing == "seeds":
        a, b = {seed: a[seed] for seed in a if seed in b}, {seed: b[seed] for seed in a if seed in b}
    if contrast.pairing == "common facts":
        here, there = common(questions, answers.questions(other.model, split))
        questions = questions.take(here)
        a, b = {seed: y[here] for seed, y in a.items()}, {seed: y[there] for seed, y in b.items()}
    return a, b, questions


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


def gains(answers: Answers) -> pd.DataFrame:
    """Return what each restoration gave or took in points on k = 0, with intervals paired on questions and seeds."""
    table = differences(answers, "k = 0")
    keys = ["Model", "Criterion", "Region", "n", "Test set", RATIO, "Trained on"]
    table = table.loc[table["Strategy"] == DEFAULT, [*keys, DIFFERENCE, "Low", "High", "Seeds", "Facts", "Scope"]]
    table = frames.with_value(table, DIFFERENCE)
    return frames.in_order(table, keys, table)


def draw_gains(numbers: pd.DataFrame, notice: str) -> Figure:
    """Return them as maps of k by training set: rows of panels are criteria, regions and n, columns test sets."""
    groups = [rows for _, rows in numbers.groupby(["Model", "Criterion", "Region", "n"], sort=False)]
    tests = list(dict.fromkeys(numbers["Test set"])) or [""]
    most = max([rows[RATIO].nunique() for rows in groups], default=5)
    foot = f"{maps.NOTE} Outlined: the best k of a training set, which flatters itself as the best of several."
    foot = f"{foot} {frames.gaps(numbers, DIFFERENCE)}"
    figure, grid = style.page(len(groups), len(tests), (3.7, 0.9 + 0.3 * most), foot=[foot, notice])
    end = maps.ends(numbers, DIFFERENCE)
    for row, group in zip(grid, groups, strict=False):
        first = group.iloc[0]
        for axes, test in zip(row, tests, strict=True):
            own = group[group["Test set"] == test]
            if own.empty:
                style.nothing(axes)
                continue
            maps.draw(axes, own, RATIO, "Trained on", DIFFERENCE, end, best=True)
            words = f"{first['Model']}, {first['Criterion']}, n = {first['n']}, {test}"
            axes.set_title(words if first["Region"] == "transformer" else f"{words}\n{first['Region']}", loc="left")
            axes.set_ylabel("k (% restored)")
            axes.label_outer()
    return figure


TARGETS.add(Target(
    "gains", 61, ANSWERS, "What restoring gave back, and what it took",
    "Macro accuracy after setting the k % of the elements that rank first back to their pre-trained values, minus that "
    "of the same fine-tuned models at k = 0, in points, with the 95 % interval of the difference, paired on questions "
    "and seeds. Table 4 with what may be read from it: a cell without a tint may be no change at all.",
    gains, draw_gains, chart=Chart("Trained on", RATIO, "", "Test set", DIFFERENCE, words=maps.TINT),
    shows=lambda study, model: study.experiments.restoration is not None or study.experiments.blocks is not None,
    needs="restored models (experiments.restoration)",
))  # fmt: skip
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
