"""From the answers of a study to its intervals and contrasts: a small grid of invented answers, read by the script."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from repository import ROOT
from script_calls import ok, refused
from sftlens.config import loading
from sftlens.dag import cells, contrasts, recorded
from sftlens.dag.contrasts import Condition
from sftlens.dag.paths import Paths
from sftlens.dag.targets import TARGETS
from sftlens.data.buckets import BUCKETS
from sftlens.files import read_parquet, write_json, write_parquet
from sftlens.reporting import frames
from sftlens.reporting.themes import intervals
from sftlens.statistics import crossed

GEOMETRY = {"layers": 2, "hidden_size": 8, "intermediate_size": 8, "heads": 2, "kv_heads": 2, "vocab_size": 9}
MODELS = {name: {"source": "path", "path": f"models/{name}", "geometry": GEOMETRY} for name in ("one", "two")}
SEEDS = [0, 1, 2]
NAMES = ("intervals", "contrasts")
CONFIG = {
    "study": "fake",
    "templates": str(ROOT / "config/relations.yaml"),  # the tests run in folders of their own
    "models": MODELS,
    "experiments": {
        "scaling": {"train_sets": ["D0", "D1"], "scales": [8, 16, "all"], "seeds": SEEDS, "shots": 0},
        "restoration": {"models": ["one"], "train_sets": ["D1"], "scales": [16], "seeds": SEEDS, "ratios": [20]},
    },
}
STUDY = loading.load(CONFIG)
PATHS = Paths(STUDY)


def mastery(model: str) -> pd.DataFrame:
    """Return 60 questions a split; the second model knows some of them better."""
    rows = [
        {"fact_id": f"{split}/{i}", "split": split, "relation": f"P{i % 4}", "bucket": BUCKETS[i % 5]}
        for split in ("train", "test", "testood")
        for i in range(60)
    ]
    table = pd.DataFrame(rows)
    if model == "two":
        table.loc[table.index % 6 == 0, "bucket"] = "D4"
    return table


def answered(product: cells.Product) -> pd.DataFrame:
    """Return invented answers in an order of their own, some of them to the training set."""
    seed = int(hashlib.sha256(product.path.encode()).hexdigest()[:8], 16)
    table = mastery(product.cell.model).sample(frac=1, random_state=seed % 2**31)
    right = np.random.default_rng(seed).random(len(table)) < 0.4
    return table[["fact_id", "split", "bucket"]].assign(output="x", contains=right, well_formed=True)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a finished study."""
    monkeypatch.chdir(tmp_path)
    recorded.record(STUDY)
    for product in cells.distinct(STUDY):
        summary = Path(PATHS.summary(product))
        write_json(summary, {"metrics": []})
        if product.stage == "mastery":
            write_parquet(summary.with_name("mastery.parquet"), mastery(product.cell.model))
        elif product.stage in contrasts.ANSWERED:
            write_parquet(summary.with_name("answers.parquet"), answered(product))
    return tmp_path / PATHS.root


def made(root: Path, name: str) -> pd.DataFrame:
    ok("collect.py", "fake", "--table", name)
    return frames.read_csv(root / "tables" / f"{name}.csv")


def folder(root: Path, *parts: str) -> Path:
    return root.joinpath(*parts) / "answers.parquet"


def array(root: Path, *parts: str, split: str = "test") -> np.ndarray:
    """Return the answers of one cell in the order of the mastery table."""
    table = read_parquet(folder(root, *parts)).set_index("fact_id")["contains"]
    return 100.0 * table.loc[[f"{split}/{i}" for i in range(60)]].to_numpy()


def cell(root: Path, scale: str, train_set: str, model: str = "one", split: str = "test") -> np.ndarray:
    seeds = SEEDS if scale != "all" else [0]
    place = [(model, train_set, f"n{scale}", f"seed{seed}", "full", "evaluate") for seed in seeds]
    return np.stack([array(root, *parts, split=split) for parts in place])


def base(root: Path, model: str = "one") -> np.ndarray:
    return array(root, model, "base", "n0", "seed0", "base", "evaluate")[None]


def row(table: pd.DataFrame, **key: str) -> pd.Series:
    key = {"Model": "one", "Test set": "ID test", "Restored (%)": "0"} | {
        k.replace("_", " "): v for k, v in key.items()
    }
    for name, value in key.items():
        table = table[table[name] == value]
    assert len(table) == 1, key
    return table.iloc[0]


def agrees(found: pd.Series, expected: crossed.Estimate, name: str = intervals.DIFFERENCE) -> None:
    """A row of a file has two decimals."""
    numbers = (expected.value, expected.low, expected.high, expected.se, expected.df)
    assert found[[name, "Low", "High", "SE", "df"]].tolist() == pytest.approx(numbers, abs=0.0051)
    assert found[["Seeds", "Facts", "Scope"]].tolist() == [expected.seeds, expected.questions, expected.scope]


CODES = np.arange(60) % 5
RELATIONS = np.arange(60) % 4


def test_each_condition_has_its_interval(root: Path) -> None:
    table = made(root, "intervals")
    assert len(table) == 2 * (2 * (1 + 2 * 3) + 1)
    found = row(table, Trained_on="D1", n="16")
    agrees(found, crossed.accuracy(cell(root, "16", "D1"), CODES), frames.ACCURACY)
    clustered = crossed.accuracy(cell(root, "16", "D1"), CODES, RELATIONS)
    assert found[["Low by relation", "High by relation"]].tolist() == pytest.approx(
        [max(clustered.low, 0), min(clustered.high, 100)], abs=0.0051
    )
    other = row(table, Trained_on="D1", n="16", Test_set="OOD test")
    agrees(other, crossed.accuracy(cell(root, "16", "D1", split="testood"), CODES), frames.ACCURACY)
    first = row(table, n="0", **{"Restored_(%)": ""})
    agrees(first, crossed.accuracy(base(root), CODES), frames.ACCURACY)
    assert (found["Scope"], first["Scope"]) == ("over seeds", "this model only")
    assert table["By posterior"].isna().all()


def test_contrasts_pair_what_belongs_together(root: Path) -> None:
    table = made(root, "contrasts")
    large, small = cell(root, "16", "D1"), cell(root, "8", "D1")
    key = {"Trained_on": "D1", "n": "16"}
    agrees(row(table, Against="n = 8", **key), crossed.accuracy(large - small, CODES))
    agrees(row(table, Against="Base model (n = 0)", **key), crossed.accuracy(large - base(root), CODES))
    agrees(row(table, Against="D0", **key), crossed.difference(large, cell(root, "16", "D0"), CODES))
    place = [("one", "D1", "n16", f"seed{s}", "full", "restore", "relative-transformer", "k20") for s in SEEDS]
    restored = np.stack([array(root, *parts) for parts in place])
    agrees(row(table, Against="k = 0", **key, **{"Restored_(%)": "20"}), crossed.accuracy(restored - large, CODES))
    every = row(table, Against="n = 8", Trained_on="D1", n="all")
    agrees(every, crossed.accuracy(cell(root, "all", "D1") - small[:1], CODES))
    assert every["Scope"] == "this model only"


def test_models_are_compared_on_the_facts_of_the_same_bucket_for_both(root: Path) -> None:
    table = made(root, "contrasts")
    same = ((np.arange(60) + 60) % 6 != 0) | (CODES == 4)
    a, b = (cell(root, "16", "D1", model)[:, same] for model in ("two", "one"))
    found = row(table, Model="two", Against="one, common facts", Trained_on="D1")
    assert found["n"] == "16"
    agrees(found, crossed.difference(a, b, CODES[same]))
    bases = row(table, Model="two", Against="one, common facts", n="0", **{"Restored_(%)": ""})
    assert bases["Scope"] == "this model only" and bases["Facts"] == same.sum()


def test_the_contrasts_are_a_function_of_the_grid() -> None:
    grid = contrasts.conditions(cells.distinct(STUDY))
    found = {(c.condition, c.reference): c.pairing for c in contrasts.contrasts(grid)}
    zero = Condition("one", "base", "0", "base")
    tuned = {(s, n): Condition("one", s, n, "full") for s in ("D0", "D1") for n in ("8", "16", "all")}
    restored = Condition("one", "D1", "16", "full", "relative", "transformer", 20)
    expected = {(c, zero): "fixed" for c in tuned.values()}
    expected |= {(tuned[s, n], tuned[s, "8"]): "seeds" for s in ("D0", "D1") for n in ("16", "all")}
    expected |= {(tuned["D1", n], tuned["D0", n]): "questions" for n in ("8", "16", "all")}
    expected |= {(restored, tuned["D1", "16"]): "seeds"}
    assert {pair: how for pair, how in found.items() if pair[0].model == "one"} == expected
    assert [pair for pair in found if pair[0].model != pair[1].model] == [
        (Condition("two", *place), Condition("one", *place))
        for place in (("base", "0", "base"), ("D0", "16", "full"), ("D1", "16", "full"))
    ]


def test_posterior_weights_of_the_mastery_table_are_used(root: Path) -> None:
    path = Path(PATHS.mastery("one"))
    table = read_parquet(path)
    weights = np.random.default_rng(0).dirichlet(np.ones(5), len(table))
    write_parquet(path, table.assign(**{f"posterior_{b}": weights[:, i] for i, b in enumerate(BUCKETS)}))
    here = weights[(table["split"] == "test").to_numpy()]
    one, zero = cell(root, "16", "D1").mean(axis=0), base(root)[0]
    found = row(made(root, "intervals"), Trained_on="D1", n="16")["By posterior"]
    assert found == pytest.approx(crossed.reweighted(one, here), abs=0.0051)
    found = row(made(root, "contrasts"), Trained_on="D1", n="16", Against="Base model (n = 0)")["By posterior"]
    assert found == pytest.approx(crossed.reweighted(one - zero, here), abs=0.0051)


def test_an_accuracy_has_no_interval_below_zero(root: Path) -> None:
    path = folder(root, "one", "base", "n0", "seed0", "base", "evaluate")
    table = read_parquet(path)
    write_parquet(path, table.assign(contains=table["fact_id"].isin(["test/0", "testood/7"])))
    found = made(root, "intervals").query("Model == 'one' and n == '0'")
    assert (found["Low"] == 0).all() and (found["High"] > 0).all() and (found["Low by relation"] == 0).all()


def test_an_empty_bucket_leaves_no_macro(root: Path) -> None:
    path = Path(PATHS.mastery("one"))
    write_parquet(path, read_parquet(path).replace({"bucket": {"D2": "D1"}}))
    assert made(root, "intervals").query("Model == 'one'")[frames.ACCURACY].isna().all()
    assert made(root, "intervals").query("Model == 'two'")[frames.ACCURACY].notna().all()


def delete_summary(path: Path) -> None:
    path.with_name("summary.json").unlink()


@pytest.mark.parametrize("delete", [Path.unlink, delete_summary])
def test_what_is_missing_is_left_out_of_the_partial_page_alone(root: Path, delete: Callable[[Path], None]) -> None:
    delete(folder(root, "one", "D1", "n16", "seed2", "full", "evaluate"))
    for name in ("n8/seed0", "n8/seed1", "n8/seed2"):
        delete(folder(root, "one", "D1", name, "full", "evaluate"))
    assert "one/D1/n8/seed0/full/evaluate" in refused("collect.py", "fake", "--table", "intervals")
    ok("collect.py", "fake", "--partial")
    accuracies, differences = (frames.read_csv(root / f"partial/tables/{name}.csv") for name in NAMES)
    assert row(accuracies, Trained_on="D1", n="16")[["Seeds", "Scope"]].tolist() == [2, "this model only"]
    assert accuracies.query("Model == 'one' and n == '8' and `Trained on` == 'D1'").empty
    left = differences.query("Model == 'one' and n == '16' and `Trained on` == 'D1'")
    assert set(left["Against"]) == {"Base model (n = 0)", "D0", "k = 0"}
    assert left.query("Against == 'k = 0'")["Seeds"].tolist() == [2, 2]


def test_answers_to_other_questions_are_refused_by_name(root: Path) -> None:
    path = folder(root, "two", "D0", "n8", "seed1", "full", "evaluate")
    table = read_parquet(path)
    write_parquet(path, table[table["fact_id"] != "test/3"])
    message = refused("collect.py", "fake", "--table", "contrasts")
    assert "two/D0/n8/seed1/full/evaluate/answers.parquet" in message and "delete it" in message


def test_the_page_shows_both_tables(root: Path) -> None:
    for name in NAMES:
        made(root, name)
    ok("collect.py", "fake", "--results")
    for name in ("claims", "claims_paper", "flips", "flip_examples", "table1", "table2", "table4"):
        ok("collect.py", "fake", "--table", name)
    ok("collect.py", "fake", "--table", "trainings")
    for name in ("cost", "losses", "gains", "relations"):
        ok("collect.py", "fake", "--figure", name)
    ok("collect.py", "fake", "--report")
    page = (root / "report.html").read_text()
    for name in NAMES:
        assert f'<section id="{name}">' in page and TARGETS.get(name).title in page
    assert "one, common facts" in page and "over seeds" in page
