"""The majority baseline: what answering each relation's most frequent object scores."""

import pandas as pd
import pytest

from sftlens.evaluation import accuracy

OBJECTS = {
    ("train", "P17"): ["Norwenia", "Norwenia", "Torburg", "Kesta", "Kesta", "Kesta"],
    ("train", "P19"): ["Oslo", "Vale"],
    ("test", "P17"): ["Kesta", "Norwenia", "Great Kesta", "Torburg"],
    ("test", "P19"): ["Oslo", "Vale"],
    ("testood", "P50"): ["Ada", "Ben", "Ada"],
}


def facts() -> pd.DataFrame:
    rows = [(split, relation, name) for (split, relation), names in OBJECTS.items() for name in names]
    table = pd.DataFrame(rows, columns=["split", "relation", "object"])
    return table.assign(fact_id=[f"f{i}" for i in table.index], aliases=[[name] for name in table["object"]])


def shares(table: pd.DataFrame) -> dict[tuple[str, str, str, str], float]:
    rows = accuracy.majority(table)
    return {(row["split"], row["metric"], row["bucket"], row.get("relation", "")): row["value"] for row in rows}


def test_the_most_frequent_train_object_is_asked_of_the_test_facts() -> None:
    found = shares(facts())
    assert found["test", "majority", "all", "P17"] == 0.25  # Kesta is no answer that contains Great Kesta
    assert found["test", "majority", "all", "P19"] == 0.5
    assert found["test", "majority", "all", ""] == pytest.approx(2 / 6)
    accepting = facts()
    accepting.at[10, "aliases"] = ["Great Kesta", "esta"]
    assert shares(accepting)["test", "majority", "all", "P17"] == 0.5


def test_a_relation_without_train_facts_is_labelled_as_an_upper_bound() -> None:
    found = shares(facts())
    assert found["testood", "majority_of_asked", "all", "P50"] == found["testood", "majority_of_asked", "all", ""]
    assert found["testood", "majority_of_asked", "all", ""] == pytest.approx(2 / 3)
    assert ("testood", "majority", "all", "") not in found
    one_untrained = facts().query("not (split == 'train' and relation == 'P19')")
    found = shares(one_untrained)
    assert ("test", "majority", "all", "") not in found and ("test", "majority_of_asked", "all", "") in found
    assert ("test", "majority", "all", "P17") in found and ("test", "majority_of_asked", "all", "P19") in found


def test_ties_do_not_depend_on_the_order_of_the_rows() -> None:
    assert shares(facts()) == shares(facts().iloc[::-1])


def test_buckets_and_their_macro() -> None:
    table = pd.concat([facts().query("split == 'train'"), facts().query("split == 'test'").iloc[:5]])
    table["bucket"] = ["D0"] * 8 + ["D0", "D1", "D2", "D3", "D4"]
    found = shares(table)
    assert found["test", "majority", "D0", ""] == 1 and found["test", "majority", "D1", ""] == 0
    assert found["test", "majority", "macro", ""] == pytest.approx(2 / 5)


def test_facts_of_unknown_relation_have_no_baseline() -> None:
    assert accuracy.majority(facts().drop(columns="relation")) == []
