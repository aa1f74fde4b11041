"""How answers were scored: each way beside the paper's, and what explains a part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sftlens.dag.targets import TARGETS, Target
from sftlens.reporting import frames

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
