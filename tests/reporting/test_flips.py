"""Which questions were lost and gained: counted one by one, beside what guessing and another seed would flip."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_intervals import CODES, PATHS, RELATIONS, STUDY, base, cell, folder, made, root, row

from script_calls import ok
from sftlens.dag import cells
from sftlens.data.scoring import guessed
from sftlens.files import read_parquet, write_parquet
from sftlens.reporting.themes import flips
from sftlens.statistics.flips import count, flipped, shares

assert root  # the fixture
NAMES = ("flip_examples", "flips")


def test_a_flip_is_a_change_of_one_example() -> None:
    lost, gained = flipped([True, True, False, False], [True, False, True, False])
    assert lost.tolist() == [False, True, False, False] and gained.tolist() == [False, False, True, False]
    lost, gained = flipped([0.5, 0.25, 1.0], [0.25, 0.5, 1.0])  # scores
    assert lost.tolist() == [True, False, False] and gained.tolist() == [False, True, False]


def test_what_the_guess_answers_is_left_out_of_what_lies_beyond_it() -> None:
    before, runs = np.array([1, 1, 1, 0, 0], bool), [np.array([1, 0, 0, 1, 0], bool), np.array([1, 1, 0, 1, 1], bool)]
    lost, gained = shares([(before, run) for run in runs])
    assert lost.tolist() == [0, 0.5, 1, 0, 0] and gained.tolist() == [0, 0, 0, 1, 0.5]
    everything, guess = np.ones(5, bool), np.array([0, 0, 1, 0, 1], bool)
    found = count(lost, gained, everything, guess)
    assert (found.n, found.lost, found.gained) == (5, pytest.approx(0.3), pytest.approx(0.3))
    assert (found.beyond, found.lost_beyond, found.gained_beyond) == (3, pytest.approx(0.5 / 3), pytest.approx(1 / 3))
    unknown = count(lost, gained, everything)
    assert unknown.lost == found.lost and unknown.beyond == 0 and np.isnan(unknown.lost_beyond)


def shares_of(before: np.ndarray, after: np.ndarray, group: np.ndarray) -> tuple[float, float]:
    """Return (lost, gained) in percent of a group from arrays [seeds, facts] of which every two are compared."""
    pairs = [(b > 0, a > 0) for b in before for a in after]
    lost, gained = (100 * np.mean([(x & ~y)[group].mean() for x, y in found]) for found in (
        pairs, [(a, b) for b, a in pairs]))  # fmt: skip
    return lost, gained


def test_each_contrast_has_its_flips_by_bucket_and_relation(root: Path) -> None:
    table = made(root, "flips")
    key = {"Trained_on": "D1", "n": "16", "Against": "Base model (n = 0)"}
    large, small, zero = cell(root, "16", "D1"), cell(root, "8", "D1"), base(root)
    everything = np.ones(60, bool)
    for name, group in {"all": everything, "D3": CODES == 3, "P2": RELATIONS == 2}.items():
        found = row(table, Of=name, **key)
        assert found[[flips.LOST, flips.GAINED]].tolist() == pytest.approx(shares_of(zero, large, group), abs=0.006)
        assert found["Facts"] == group.sum() and found["Seeds"] == 3
    found = row(table, Of="all", **key)
    pairs = [(a > 0) & ~(b > 0) for i, a in enumerate(large) for j, b in enumerate(large) if i != j]
    assert found[flips.NOISE] == pytest.approx(100 * np.mean(pairs), abs=0.006)
    # The difference of the accuracies is what was gained without what was lost.
    assert found[flips.GAINED] - found[flips.LOST] == pytest.approx((large - zero).mean(), abs=0.011)
    same = [shares_of(a[None], b[None], everything) for a, b in zip(small, large, strict=True)]
    found = row(table, Of="all", **key | {"Against": "n = 8"})
    assert found[[flips.LOST, flips.GAINED]].tolist() == pytest.approx(np.mean(same, axis=0), abs=0.006)
    found = row(table, Of="all", **key | {"Against": "D0"})  # seeds of their own: every two are compared
    expected = shares_of(cell(root, "16", "D0"), large, everything)
    assert found[[flips.LOST, flips.GAINED]].tolist() == pytest.approx(expected, abs=0.006)
    assert table["Lost beyond guessing (%)"].isna().all()  # the mastery table has no objects
    assert np.isnan(row(table, Of="all", **key | {"n": "all"})[flips.NOISE])  # a single seed
    across = table[table["Against"].str.contains("common facts") & (table["Of"] == "all")]
    assert len(across) and (across["Facts"] < 60).all()


def with_words(root: Path, name: str) -> pd.DataFrame:
    """Give a mastery table questions and objects, a hostile one among them."""
    path = Path(PATHS.mastery(name))
    table = read_parquet(path)
    table["question"] = [f"What of <b>{fact}</b>?" for fact in table["fact_id"]]
    table["object"] = [("Oslo", "Rome", "=1+1", "Bern")[i % 4] if i % 3 else "Paris" for i in range(len(table))]
    table["aliases"] = [[name, f"{name} city"] for name in table["object"]]
    write_parquet(path, table)
    return table


def test_the_guess_is_the_majority_of_the_train_facts_of_a_relation(root: Path) -> None:
    table = with_words(root, "one")
    test, train = (table[table["split"] == split] for split in ("test", "train"))
    right = np.array(guessed(test, train))
    favourite = train.groupby("relation")["object"].agg(lambda group: group.value_counts().index[0])
    assert right.tolist() == (test["object"] == test["relation"].map(favourite)).tolist() and 0 < right.sum() < 60
    found = row(made(root, "flips"), Trained_on="D1", n="16", Against="Base model (n = 0)", Of="all")
    assert found["Facts beyond guessing"] == (~right).sum()
    expected = shares_of(base(root), cell(root, "16", "D1"), ~right)
    beyond = [f"{way} {flips.BEYOND}" for way in ("Lost", "Gained")]
    assert found[beyond].tolist() == pytest.approx(expected, abs=0.006)


def test_examples_are_of_the_largest_training_and_harmless_on_the_page(root: Path) -> None:
    table = with_words(root, "one")
    for product in cells.distinct(STUDY):
        if product.stage == "evaluate":
            path = folder(root, *Path(product.path).parent.parts)
            said = f"<script>{product.cell.seed}</script>\nand on"
            write_parquet(path, read_parquet(path).assign(output=said))
    found = made(root, "flip_examples")
    one = found[found["Model"] == "one"]
    assert set(one["Trained on"]) == {"D0", "D1"} and set(one["n"]) == {"all"} and (found["Model"] == "one").all()
    assert one.groupby(["Trained on", "Flip"]).size().tolist() == [2] * 4
    right = {name: made_right(root, name) for name in ("D0", "D1")}
    zero = dict(zip([f"test/{i}" for i in range(60)], base(root)[0] > 0, strict=True))
    for _, example in one.iterrows():
        fact = table[table["question"] == example["Question"]].iloc[0]
        lost = example["Flip"] == flips.WAYS[0]
        assert fact["split"] == "test" and fact["bucket"] == example["Bucket"]
        assert zero[fact["fact_id"]] == lost and right[example["Trained on"]][fact["fact_id"]] != lost
        assert example["Accepted"].removeprefix("'") == f"{fact['object']} | {fact['object']} city"
    assert set(one[one["Flip"] == flips.WAYS[0]]["Bucket"]) <= {"D4", "D3"}
    for name in ("claims", "claims_paper", "contrasts", "flips", "intervals", "table1", "table2", "table4"):
        ok("collect.py", "fake", "--table", name)
    ok("collect.py", "fake", "--table", "trainings")
    for name in ("cost", "losses", "gains", "relations"):
        ok("collect.py", "fake", "--figure", name)
    ok("collect.py", "fake", "--results")
    ok("collect.py", "fake", "--report")
    page = (root / "report.html").read_text()
    section, shown = (page.split(f'<section id="{name}">')[1].split("</section>")[0] for name in NAMES)
    assert "&lt;script&gt;0&lt;/script&gt; and on" in section and "<script>0" not in page and "<b>test" not in page
    assert "<details" not in section  # to be read without a click
    assert "lost and what was gained" in shown and ">P2<" not in shown  # relations stand in the CSV file


def made_right(root: Path, name: str) -> dict[str, bool]:
    table = read_parquet(folder(root, "one", name, "nall", "seed0", "full", "evaluate")).set_index("fact_id")
    return table["contains"].to_dict()
