"""The table of answer scoring: every way beside the paper's, from what real answers are counted into."""

import pandas as pd
import pytest

from fake_results import MODEL, fake_results
from sftlens.dag.targets import TARGETS
from sftlens.evaluation import accuracy
from sftlens.reporting import frames
from sftlens.results import collect
from sftlens.results.collect import COLUMNS

CELLS = [("base", "0", 0, "base"), ("D0", "60", 0, "full"), ("D0", "60", 1, "full")]


def answers(right: int) -> pd.DataFrame:
    """Return four answers a bucket and split; the first `right` of them are right, the first question leaks."""
    rows = [
        {"split": split, "bucket": f"D{b}", "relation": "P17", "contains": i < right, "exact": i < right - 1,
         "word_boundary": i < right, "f1": 0.5 * (i < right), "well_formed": i < 3, "leak": i == 0, "in_train": i == 3}
        for split in ("test", "testood") for b in range(5) for i in range(4)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def facts() -> pd.DataFrame:
    """Return facts whose majority answer is right once in four asked questions, twice out of domain."""
    rows = [("train", "P17", "Oslo", "")] * 2
    for b in range(5):
        rows += [("test", "P17", name, f"D{b}") for name in ("Oslo", "Bergen", "Bergen", "Vale")]
        rows += [("testood", "P50", name, f"D{b}") for name in ("Ada", "Ada", "Ben", "Cleo")]
    table = pd.DataFrame(rows, columns=["split", "relation", "object", "bucket"])
    return table.assign(fact_id=table.index)


def results() -> pd.DataFrame:
    rows = []
    for train_set, scale, seed, strategy in CELLS:
        axes = {"model": MODEL, "train_set": train_set, "scale": scale, "seed": seed, "strategy": strategy}
        made = accuracy.rows(answers(2 + seed)) + (accuracy.majority(facts()) if strategy == "base" else [])
        rows += [{"stage": "evaluate", "relation": "", **axes, **row} for row in made]
        rows.append({"stage": "restore", "relation": "", **axes, **made[0], "bucket": "macro", "value": 0.99})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def row(test_set: str, trained_on: str) -> pd.Series:
    table = collect.numbers(TARGETS.get("judgements"), results())
    chosen = table[(table["Test set"] == test_set) & (table["Trained on"] == trained_on)]
    assert len(chosen) == 1
    return chosen.iloc[0]


def test_every_judgement_has_its_mean_over_seeds() -> None:
    cell = row("ID test", "D0")
    assert (cell["n"], cell["Seeds"]) == ("60", 2)
    assert cell["Contains"] == pytest.approx((50 + 75) / 2)
    assert cell["Contains SD"] == pytest.approx(25 / 2**0.5)
    assert cell["Exact"] == pytest.approx((25 + 50) / 2)
    assert cell["F1"] == pytest.approx((25 + 37.5) / 2)
    assert cell["Well-formed"] == 75 and cell["Word boundary"] == cell["Contains"]
    assert cell["Without leak"] == pytest.approx((1 / 3 + 2 / 3) / 2 * 100)
    assert cell["Not in train"] == pytest.approx((2 / 3 + 1) / 2 * 100)


def test_shares_of_questions_and_the_baseline_have_no_spread() -> None:
    table = collect.numbers(TARGETS.get("judgements"), results())
    assert not {"Leak SD", "In train SD", "Majority of train SD", "Majority of asked SD"} & set(table)
    assert set(table["Leak"]) == set(table["In train"]) == {25.0}


def test_the_baseline_stands_in_every_row_and_says_what_it_is() -> None:
    for trained_on in (frames.BASE, "D0"):
        inside, outside = row("ID test", trained_on), row("OOD test", trained_on)
        assert inside["Majority of train"] == 25 and pd.isna(inside["Majority of asked"])
        assert outside["Majority of asked"] == 50 and pd.isna(outside["Majority of train"])


def test_results_from_before_these_judgements_leave_gaps() -> None:
    text = frames.as_text(collect.numbers(TARGETS.get("judgements"), fake_results()))
    assert len(text) > 0 and "-" not in set(text["Contains"])
    assert set(text["F1"]) == set(text["Leak"]) == set(text["Majority of train"]) == {"-"}
