"""Accuracy: judged answers counted per split, bucket and relation, and on some of the questions."""

from typing import Any

import pandas as pd
import pytest

from sftlens.evaluation import accuracy
from sftlens.statistics import intervals

Rows = dict[tuple[str, str, str], dict[str, Any]]


def answers_of(groups: dict[tuple[str, str], list[tuple[int, int]]]) -> pd.DataFrame:
    """Return answers from lists of (contains, well_formed) by (split, bucket)."""
    return pd.DataFrame(
        [
            {"split": split, "bucket": bucket, "contains": bool(c), "well_formed": bool(w)}
            for (split, bucket), judged in groups.items()
            for c, w in judged
        ]
    )


def counts(groups: dict[tuple[str, str], list[tuple[int, int]]]) -> Rows:
    rows = accuracy.rows(answers_of(groups))
    return {(row["split"], row["bucket"], row["metric"]): row for row in rows}


FULL = {
    ("test", "D0"): [(0, 1), (0, 1), (0, 0), (1, 1)],
    ("test", "D1"): [(1, 1), (0, 1)],
    ("test", "D2"): [(1, 1), (1, 0)],
    ("test", "D3"): [(1, 1)],
    ("test", "D4"): [(1, 1), (1, 1), (0, 0), (1, 0)],
}


def test_accuracy_by_bucket_all_and_macro() -> None:
    rows = counts(FULL)
    assert len(rows) == 3 * 7
    row = rows["test", "D0", "contains"]
    assert (row["value"], row["n"]) == (0.25, 4) and (row["low"], row["high"]) == intervals.wilson(1, 4)
    row = rows["test", "all", "contains"]
    assert (row["value"], row["n"]) == (8 / 13, 13) and (row["low"], row["high"]) == intervals.wilson(8, 13)
    row = rows["test", "macro", "contains"]
    shares = [0.25, 0.5, 1.0, 1.0, 0.75]
    assert row["value"] == pytest.approx(0.7) and row["n"] == 13
    assert (row["value"], row["low"], row["high"]) == intervals.macro(shares, [4, 2, 2, 1, 4])
    assert rows["test", "macro", "well_formed"]["value"] == pytest.approx((0.75 + 1 + 0.5 + 1 + 0.5) / 5)
    row = rows["test", "D4", "contains_given_well_formed"]
    assert (row["value"], row["n"]) == (1.0, 2) and (row["low"], row["high"]) == intervals.wilson(2, 2)
    assert rows["test", "macro", "contains_given_well_formed"]["value"] == pytest.approx(
        (1 / 3 + 1 / 2 + 1 + 1 + 1) / 5
    )


@pytest.mark.parametrize("empty", ["D0", "D1", "D2", "D3", "D4"])
def test_with_an_empty_bucket_the_macro_is_undefined(empty: str) -> None:
    rows = counts({key: value for key, value in FULL.items() if key[1] != empty})
    assert not any("macro" in key or empty in key for key in rows)
    assert ("test", "all", "contains") in rows


def test_only_the_metric_that_lacks_answers_goes_without() -> None:
    rows = counts(FULL | {("test", "D3"): [(1, 0), (0, 0)]})
    assert ("test", "macro", "contains") in rows
    assert ("test", "macro", "contains_given_well_formed") not in rows
    assert ("test", "D3", "contains_given_well_formed") not in rows
    assert rows["test", "D3", "well_formed"]["value"] == 0


def test_splits_are_counted_apart_and_unknown_buckets_only_in_all() -> None:
    rows = counts(FULL | {("train", "D2"): [(1, 1)], ("testood", ""): [(0, 1), (1, 1)]})
    assert rows["train", "D2", "contains"]["n"] == 1 and ("train", "macro", "contains") not in rows
    assert {bucket for split, bucket, _ in rows if split == "testood"} == {"all"}
    assert rows["testood", "all", "contains"]["value"] == 0.5
    assert rows["test", "all", "contains"]["n"] == 13


def judged(**columns: list) -> pd.DataFrame:
    """Return two answers a bucket of split test, all well-formed, with some columns replaced."""
    table = pd.DataFrame({"split": "test", "bucket": [f"D{i // 2}" for i in range(10)], "well_formed": True})
    return table.assign(**({"contains": [True, False] * 5} | columns))


def metric(rows: list[dict[str, Any]], name: str) -> Rows:
    return {("test", row["bucket"], row.get("relation", "")): row for row in rows if row["metric"] == name}


def test_relations_have_rows_of_their_own() -> None:
    table = judged(relation=["P17"] * 4 + ["P19"] * 5 + [""])
    rows = accuracy.rows(table)
    found = metric(rows, "contains")
    assert {key for key in found if key[2]} == {("test", "all", "P17"), ("test", "all", "P19")}
    assert (found["test", "all", "P19"]["value"], found["test", "all", "P19"]["n"]) == (0.6, 5)
    assert {row["metric"] for row in rows if "relation" in row} == {"contains", "well_formed"}
    without = [row for row in rows if "relation" not in row]
    assert without == accuracy.rows(table.drop(columns="relation"))


def test_f1_is_averaged_not_counted() -> None:
    rows = accuracy.rows(judged(f1=[0.0, 0.5, *[0.25] * 8]))
    found = metric(rows, "f1")
    row = found["test", "D0", ""]
    assert (row["value"], row["n"]) == (0.25, 2)
    macro = found["test", "macro", ""]
    assert (macro["value"], macro["n"]) == (0.25, 10)
    # Only D0 varies: its mean has variance 0.125 / 2, which enters with the weight 1 / 25.
    assert macro["high"] - macro["value"] == pytest.approx(12.7062047 * 0.25 / 5)


def test_accuracy_on_the_questions_that_give_nothing_away() -> None:
    leak = [True, False] * 2 + [False] * 6
    in_train = [False] * 8 + [True, False]
    rows = accuracy.rows(judged(leak=leak, in_train=in_train))
    assert metric(rows, "leak")["test", "all", ""]["value"] == 0.2
    assert metric(rows, "in_train")["test", "all", ""]["value"] == 0.1
    without = metric(rows, "contains_without_leak")
    assert (without["test", "D0", ""]["value"], without["test", "all", ""]["n"]) == (0.0, 8)
    assert without["test", "macro", ""]["value"] == pytest.approx((0 + 0 + 0.5 * 3) / 5)
    new = metric(rows, "contains_not_in_train")
    assert (new["test", "D4", ""]["value"], new["test", "D0", ""]["value"]) == (0.0, 0.5)
    assert not metric(accuracy.rows(judged(leak=leak)), "contains_not_in_train")
