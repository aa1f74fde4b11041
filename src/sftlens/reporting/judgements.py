"""The table of how answers were judged: each judgement beside the paper's, and what explains a part of it."""

import pandas as pd

from sftlens.reporting import frames

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


def build(results: pd.DataFrame) -> pd.DataFrame:
    """Return one row per model, test set, training set and n, in percent, means and SD over seeds.

    `results` is the tidy table without rows of single relations. The columns of SHARES and MAJORITY have no SD: no seed
    changes them.
    """
    rows = results[(results["stage"] == "evaluate") & results["split"].isin(frames.TESTS)]
    measured = pd.concat([_of(rows, MACRO, "macro"), _of(rows, SHARES, "all")])
    table = frames.pivot(measured, KEYS, "column", [*MACRO.values(), *SHARES.values()])
    table = table.drop(columns=[f"{name} SD" for name in SHARES.values()], errors="ignore")
    baseline = frames.pivot(_of(rows, MAJORITY, "macro"), KEYS[:2], "column", [*MAJORITY.values()])
    table = table.merge(baseline[[*KEYS[:2], *MAJORITY.values()]], how="left", on=KEYS[:2])
    return frames.with_examples(table, results)


def _of(rows: pd.DataFrame, columns: dict[str, str], bucket: str) -> pd.DataFrame:
    """Return the rows of some metrics, in percent, under the names that a reader sees."""
    chosen = rows[rows["metric"].isin(list(columns)) & (rows["bucket"] == bucket)].sort_values("seed", kind="stable")
    return frames.named(chosen.assign(value=chosen["value"] * 100, column=chosen["metric"].map(columns)))
