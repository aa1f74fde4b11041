"""The paper's five strategies on one model, each chosen on dev facts, as printed beside it (paper's Table 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sftlens.dag.cells import number, way
from sftlens.dag.contrasts import Condition
from sftlens.dag.targets import ANSWERS, TARGETS, Target
from sftlens.paper import strategies

if TYPE_CHECKING:
    import pandas as pd

    from sftlens.results.answers import Answers

_SPLITS = {"test": "ID test", "testood": "OOD test"}
_NUMBERS = [*(f"{name}{end}" for name in _SPLITS.values() for end in ("", " low", " high")),
            *(f"{name}, paper" for name in _SPLITS.values())]  # fmt: skip


def table7(answers: Answers) -> pd.DataFrame:
    """Return the strategies, a row each by the setting that dev chose and one by the best on ID test.

    Columns: text that names the row, its setting among it; the accuracy that chose it (percent); macro accuracies in
    percent with their intervals; the paper's printed ones.
    """
    import numpy as np
    import pandas as pd

    from sftlens.paper import printed
    from sftlens.statistics import crossed

    paper, rows = printed.read("table7").set_index("metric"), []
    for model in dict.fromkeys(one.model for one in answers.grid):
        for split, words in (("dev", "dev"), ("test", "ID test, as printed")):
            for name, (one, score) in strategies.chosen(answers, model, split).items():
                row: dict[str, Any] = {"Model": model, "Strategy": name, "Chosen on": words}
                row |= {"Setting": setting(answers, one), "There": 100 * score}
                for test, label in _SPLITS.items():
                    y = 100.0 * np.stack(list(answers.contains(one, test).values()))
                    found = crossed.accuracy(y, answers.questions(model, test).buckets)
                    row |= {label: found.value, f"{label} low": found.low, f"{label} high": found.high}
                    row[f"{label}, paper"] = float(paper.loc[f"Acc_{test}", strategies.STRATEGIES[name][0]])
                rows.append(row)
    table = pd.DataFrame(rows, columns=["Model", "Strategy", "Chosen on", "Setting", "There", *_NUMBERS])
    return table.astype(dict.fromkeys(["There", *_NUMBERS], "float64"))


def setting(answers: Answers, one: Condition) -> str:
    """Return what names a cell among the candidates of its strategy."""
    if not one.trained:
        return "its own chat template"
    rate = way(one.strategy)[1] or answers.paths.study.finetuning.learning_rate
    ratio = "" if one.ratio is None else f", k = {number(one.ratio)} %"
    return f"{one.train_set}, n = {one.scale}, lr {rate:g}{ratio}"


TARGETS.add(Target(
    "table7", 72, ANSWERS, "The paper's strategies",
    "Macro accuracy in percent with 95 % intervals of the five strategies that the paper compares, each at the setting "
    "(training set, n, learning rate, k: what the grid has) that is best on dev facts; below them, as the paper may "
    "have printed it, at the setting that is best on ID test, which flatters. There: the accuracy that chose it. "
    "The instruct model is asked by its own chat template. Paper: Table 7, one run on one model.",
    table7, picks=strategies.picks,
))  # fmt: skip
