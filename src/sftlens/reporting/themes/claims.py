"""The paper's claims, their verdicts here and by the paper's own numbers; and its strategies (Table 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sftlens.dag.cells import number, way
from sftlens.dag.contrasts import Condition
from sftlens.dag.targets import ANSWERS, EVERYTHING, MASTERY, TARGETS, Target
from sftlens.paper import strategies
from sftlens.paper.claims import specification
from sftlens.paper.models import NAMES
from sftlens.reporting import frames

if TYPE_CHECKING:
    import pandas as pd

    from sftlens.paper.verdicts import Verdict
    from sftlens.results.answers import Answers

VERDICT, HERE = "Verdict", "Verdict in this world"
_ON = frames.SPLITS | {"both": "ID and OOD test", "parameters": "Parameters", "tasks": "XSum, GSM8K"}
_RESULT = ["Effect", "Low", "High", "Must exceed"]
_TESTS = {"test": "ID test", "testood": "OOD test"}
_NUMBERS = [*(f"{name}{end}" for name in _TESTS.values() for end in ("", " low", " high")),
            *(f"{name}, paper" for name in _TESTS.values())]  # fmt: skip


def claims(answers: Answers) -> pd.DataFrame:
    """Return the verdict on each claim, model by model: text that names it, the verdict, effect with interval, why.

    The column of verdicts is called HERE where a model was pretrained on the embedded world. NaN: not testable.
    """
    import pandas as pd

    from sftlens.paper import measured, verdicts

    study = answers.paths.study
    found = [v for model in study.models for v in verdicts.verdicts(measured.Measured(model, answers))]
    name = HERE if any(model.source == "pretrain" for model in study.models.values()) else VERDICT
    rows = [
        _row(v) | _numbers(v) | {name: v.verdict, "Seeds each": v.seeds or None, "Remarks": _remarks(v)} for v in found
    ]
    table = pd.DataFrame(rows, columns=["Claim", "Model", "Tested on", name, *_RESULT, "Seeds each", "Remarks"])
    return table.astype({"Seeds each": "Int64"} | dict.fromkeys(_RESULT, "float64"))


def printed(results: pd.DataFrame) -> pd.DataFrame:
    """Return the same for each model of the paper, from its printed means and SDs, for three and for five repeats.

    Of a study it takes nothing but that there are results.
    """
    import pandas as pd

    from sftlens.paper import printed, verdicts

    few, many = (
        [v for model in NAMES for v in verdicts.verdicts(printed.Printed(model, repeats))]
        for repeats in printed.REPEATS
    )
    rows = []
    for three, five in zip(few, many, strict=True):
        if results.empty or (three.verdict == verdicts.NOT_TESTABLE and not three.seeds):
            continue
        claim = specification().claims[three.claim]
        words = {"As printed": claim.printed, "In its numbers": claim.numbers, "Remarks": _remarks(five)}
        verdict = {f"{VERDICT}, 3 repeats": three.verdict, f"{VERDICT}, 5 repeats": five.verdict}
        rows.append(_row(five) | verdict | _numbers(five) | words)
    names = ["Claim", "Model", "Tested on", f"{VERDICT}, 3 repeats", f"{VERDICT}, 5 repeats", *_RESULT]
    return pd.DataFrame(rows, columns=[*names, "As printed", "In its numbers", "Remarks"])


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
                for test, label in _TESTS.items():
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


def _row(found: Verdict) -> dict[str, Any]:
    words = specification().claims[found.claim].claim
    return {"Claim": f"{found.claim} {words}", "Model": found.model, "Tested on": _ON[found.tested_on]}


def _numbers(found: Verdict) -> dict[str, float]:
    return dict(zip(_RESULT, (found.effect, found.low, found.high, found.threshold), strict=True))


def _remarks(found: Verdict) -> str:
    return "; ".join(filter(None, (found.label, found.second, found.why)))


TARGETS.add(Target(
    "claims", 2, EVERYTHING, "The paper's claims, tested here",
    "Each claim has one primary statistic, fixed before any result was seen (docs/claims.md; specification "
    f"{specification().sha256[:12]}). Reproduced: the lower end of its interval is above the number it must exceed; "
    "not reproduced: the upper end is below; undecided: neither. The intervals hold at 95 % for all claims of a model "
    "together. A claim with several parts shows the one nearest to failing. Not testable: a cell is missing or "
    "failed, or there are fewer than three seeds.",
    claims,
))  # fmt: skip
TARGETS.add(Target(
    "claims_paper", 94, MASTERY, "Claims of the paper, by its own numbers",
    "The paper's printed means and standard deviations through the same rule, for three and for five repeats, as it "
    "gives both (interval: five). Tables of single runs show an effect and allow no verdict. What it prints nothing "
    "for has no row.",
    printed, folded=True,
))  # fmt: skip
TARGETS.add(Target(
    "table7", 72, ANSWERS, "The paper's strategies",
    "Macro accuracy in percent with 95 % intervals of the five strategies that the paper compares, each at the setting "
    "(training set, n, learning rate, k: what the grid has) that is best on dev facts; below them, as the paper may "
    "have printed it, at the setting that is best on ID test, which flatters. There: the accuracy that chose it. "
    "The instruct model is asked by its own chat template. Paper: Table 7, one run on one model.",
    table7, picks=strategies.picks,
))  # fmt: skip
