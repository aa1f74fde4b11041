"""How answers were scored: each way beside the paper's, and what explains a part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sftlens.dag.targets import TARGETS, Chart, Target
from sftlens.reporting import curves, frames
from sftlens.reporting.frames import ACCURACY

if TYPE_CHECKING:
    import pandas as pd

MACRO = {
    "contains": "Contains",
    "word_boundary": "Word boundary",
    "exact": "Exact",
    "f1": "F1",
    "well_formed": "Well-formed",
    "contains_without_leak": "Without leak",
    "contains_not_in_train": "Not in train",
}
"""Measured on a model, macro over the buckets: metric -> column."""
SHARES = {"leak": "Leak", "in_train": "In train"}
"""Shares of the questions, over all buckets."""
MAJORITY = {"majority": "Majority of train", "majority_of_asked": "Majority of asked"}
"""What guessing without a question scores, macro over the buckets; measured once, at n = 0."""
QUESTIONS = {
    "all questions": "contains",
    "without leak": "contains_without_leak",
    "not in train": "contains_not_in_train",
}
KEYS = ["Model", "Test set", "Trained on", "n"]


def judgements(results: pd.DataFrame) -> pd.DataFrame:
    """Return one row per model, test set, training set and n, in percent, means and SD over seeds.

    The columns of SHARES and MAJORITY have no SD: no seed changes them.
    """
    import pandas as pd

    rows = results[(results["stage"] == "evaluate") & results["split"].isin(frames.TESTS)]

    def of(columns: dict[str, str], bucket: str) -> pd.DataFrame:
        chosen = rows[rows["metric"].isin(list(columns)) & (rows["bucket"] == bucket)]
        return frames.named(chosen.assign(value=chosen["value"] * 100, column=chosen["metric"].map(columns)))

    names = [*MACRO.values(), *SHARES.values()]
    measured = pd.concat([of(MACRO, "macro"), of(SHARES, "all")])
    table = frames.pivot(measured, KEYS, "column", names, constant=SHARES.values())
    baseline = frames.pivot(of(MAJORITY, "macro"), KEYS[:2], "column", [*MAJORITY.values()])
    table = table.merge(baseline[[*KEYS[:2], *MAJORITY.values()]], how="left", on=KEYS[:2])
    return frames.with_examples(table, results)


def overlap(results: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy against n: of all questions, of those without leak, and of those not in train."""
    import pandas as pd

    parts = {
        name: curves.against_n(results, "evaluate", metric, "macro", frames.TESTS, ACCURACY)
        for name, metric in QUESTIONS.items()
    }
    table = pd.concat([part.assign(Questions=name) for name, part in parts.items()], ignore_index=True)
    table.insert(2, "Questions", table.pop("Questions"))
    return table


TARGETS.add(Target(
    "overlap", 41, "scaling", "Accuracy without leaks, and without facts of the training data",
    "The same accuracy, of all test questions; without those whose subject already holds the answer (leak); and "
    "without those that also stand among the train facts (which the paper left in). If the curves keep their shape "
    "and order, neither explains them.",
    overlap,
    lambda numbers, notice: curves.draw(
        numbers, notice, ACCURACY, "Accuracy, mean of the five\nmastery buckets (%)", "Questions", ["Model", "Test set"]
    ),
    chart=Chart("n", ACCURACY, "Trained on", "Questions"),
))  # fmt: skip
TARGETS.add(Target(
    "judgements", 40, "scaling", "The same answers, scored in other ways",
    "One greedy answer to each test question, in percent, macro over the five mastery buckets. Contains is the "
    "paper's score: the object or an alias, anywhere. Word boundary asks that it is no part of a longer word, "
    "exact that the answer is nothing else; F1 is SQuAD's token overlap; well-formed answers end within the limit. "
    "Without leak leaves out the questions whose subject already holds the answer, not in train those that "
    "also stand among the train facts; leak and in train are their shares of all questions. Majority of train is "
    "the score of always giving a relation's most frequent object of the train facts. Relations without train "
    "facts have the most frequent object of the asked facts themselves, which no model could know: an upper bound.",
    judgements,
))  # fmt: skip
