"""What each experiment on training data compares: its rows are the answers' own differences, computed here by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fake_answers
from sftlens.config.study import Study
from sftlens.dag.cells import products
from sftlens.dag.contrasts import Condition
from sftlens.dag.paths import Paths
from sftlens.dag.targets import TARGETS, wanted
from sftlens.data.relations import ID_RELATIONS, OOD_RELATIONS
from sftlens.errors import DataError
from sftlens.files import write_json, write_parquet
from sftlens.results import collect
from sftlens.results.answers import Answers

KNOWN = {"buckets": ["D2", "D3", "D4"]}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(study: Study, name: str) -> Answers:
    asked = wanted(study)[name]
    return Answers(study, asked, collect.collect(study, asked)[0])


def table(study: Study, name: str) -> tuple[pd.DataFrame, Answers]:
    fake_answers.make(study)
    found = read(study, name)
    return collect.numbers(TARGETS.get(name), found), found


def macro(found: Answers, one: str, other: str, n: str = "240", split: str = "test") -> float:
    """Return the macro accuracy of one training set minus that of another in points, mean over seeds; base: n = 0."""
    y = []
    for name in (one, other):
        cell = Condition("one", name, n, "full") if name != "base" else Condition("one", "base", "0", "base")
        y.append(np.mean(list(found.contains(cell, split).values()), axis=0))
    buckets = found.questions("one", split).buckets
    return float(np.mean([100 * (y[0] - y[1])[buckets == k].mean() for k in range(5)]))


def estimate(rows: pd.DataFrame, quantity: str, series: str, x: str) -> float:
    one = rows[(rows["Quantity"] == quantity) & (rows["Series"] == series) & (rows["X"] == x)]
    assert len(one) == 1, one
    return float(one["Estimate"].iloc[0])


def test_dose_orders_the_mixes_by_their_share_of_d0_and_compares_place_and_order_at_the_same_dose() -> None:
    mix = {"new": {"share": 20, "buckets": ["D0"]}, "known": {"share": 80, **KNOWN}}
    place = {"new": {**mix["new"], "relations": ["P19"]}, "known": {**mix["known"], "except_relations": ["P19"]}}
    recipes = {"mix20": {"parts": mix}, "placed": {"parts": place}, "late": {"parts": mix, "order": ["known", "new"]},
               "alone": {"parts": {"new": {**mix["new"], "share": 33}, "known": {**mix["known"], "share": 67}},
                         "order": ["known", "new"]}}  # fmt: skip
    sets = ["D4", "late", "D0", "mix20", "placed", "alone"]
    rows, found = table(fake_answers.study(recipes=recipes, experiments={"dose": {"train_sets": sets}}), "dose")
    first = rows.iloc[0]
    assert (first["Quantity"], first["Series"], first["X"]) == (
        "100 % minus 0 % of D0 (points), by n",
        "ID test",
        "240",
    )
    assert first["Estimate"] == pytest.approx(macro(found, "D0", "D4"))
    change = "Change against the base (points), by percent of D0"
    assert rows[(rows["Quantity"] == change) & (rows["Series"] == "OOD test")]["X"].tolist() == ["0", "20", "100"]
    assert estimate(rows, change, "OOD test", "20") == pytest.approx(macro(found, "mix20", "base", split="testood"))
    beside = "Minus the mix of the same dose (points)"
    assert set(rows[rows["Quantity"] == beside]["X"]) == {"late", "placed"}  # of the dose of `alone` there is no mix
    assert estimate(rows, beside, "ID test", "placed") == pytest.approx(macro(found, "placed", "mix20"))


def test_domains_compares_new_and_known_facts_on_the_relations_that_were_not_trained_on() -> None:
    others, places = list(OOD_RELATIONS[:4]), list(ID_RELATIONS)
    recipes = {
        f"{name}-{kind}": {"parts": {"any": {"buckets": buckets, "relations": relations}}}
        for name, relations in (("other", others), ("paper", places))
        for kind, buckets in (("new", ["D0"]), ("known", KNOWN["buckets"]))
    }
    rows, found = table(fake_answers.study(recipes=recipes, experiments={"domains": {}}), "domains")
    first = rows.iloc[0]
    assert (first["Series"], first["X"]) == ("relations not trained on", "other-new - other-known")

    asked = np.concatenate([found.questions("one", split).relations for split in ("test", "testood")])

    def said(name: str) -> Any:
        cell = Condition("one", name, "240", "full") if name != "base" else Condition("one", "base", "0", "base")
        parts = [np.mean(list(found.contains(cell, split).values()), axis=0) for split in ("test", "testood")]
        return 100 * np.concatenate(parts)

    outside = ~np.isin(asked, others)
    assert first["Estimate"] == pytest.approx((said("other-new") - said("other-known"))[outside].mean())
    change = "Change against the base (points)"
    inside = np.isin(asked, places)
    assert estimate(rows, change, "relations trained on", "paper-known") == pytest.approx(
        (said("paper-known") - said("base"))[inside].mean()
    )


def test_steps_shows_what_is_learned_of_new_and_of_known_training_facts() -> None:
    study = fake_answers.study(experiments={"steps": {"train_sets": ["D0", "D4"], "scales": [60, 240]}})
    fake_answers.make(study)
    for product in products(study)["steps"]:
        cell, right = product.cell, 3 + product.cell.seed
        looks = [
            {"step": 8, "split": "trained", "bucket": bucket, "right": count, "n": n}
            for bucket, count, n in (("D0", right, 20), ("D3", 10, 10), ("D4", 5, 10), ("all", 18, 40), ("D1", 9, 10))
        ]
        if cell.trained:
            path = Path(Paths(study).root) / cell.path / "finetune.json"
            write_json(path, {"metrics": [], "during": [*looks, {**looks[0], "split": "train", "right": 0}]})
    rows = collect.numbers(TARGETS.get("steps"), read(study, "steps"))
    shown = rows[rows["Quantity"] == "Training facts answered (%), by the step"]
    assert shown[["Series", "X", "Estimate"]].to_numpy().tolist() == [
        ["D0, known", "8", pytest.approx(75)], ["D0, unknown", "8", pytest.approx(20)],
        ["D4, known", "8", pytest.approx(75)], ["D4, unknown", "8", pytest.approx(20)],
    ]  # fmt: skip
    # Three seeds: 15, 20 and 25 %; t(2) is 4.30.
    unknown = shown[shown["Series"] == "D0, unknown"].iloc[0]
    assert unknown["High"] == pytest.approx(20 + 4.302652729696142 * 5 / 3**0.5) and unknown["Scope"] == "over seeds"


def test_own_refuses_two_sets_that_are_not_of_the_same_facts() -> None:
    recipes = {"own": {"parts": {"said": {**KNOWN, "answers": "own"}}}, "gold": {"parts": {"said": KNOWN}}}
    study = fake_answers.study(
        recipes=recipes, probing={"keep_texts": True}, experiments={"own": {"scales": [60]}}, seeds=[0]
    )
    fake_answers.make(study)
    root = Path(Paths(study).root) / "one"
    ids = [f"train/{i}" for i in range(70)]
    for name, facts in (("own", ids), ("gold", [*reversed(ids[:60]), *ids[60:]])):
        write_parquet(root / name / "order-seed0.parquet", pd.DataFrame({"fact_id": facts}))
    rows = collect.numbers(TARGETS.get("own"), found := read(study, "own"))
    assert rows["Estimate"].iloc[0] == pytest.approx(macro(found, "own", "gold", "60"))
    write_parquet(root / "gold/order-seed0.parquet", pd.DataFrame({"fact_id": [*ids[1:], ids[0]]}))
    with pytest.raises(DataError, match="own and gold are not of the same facts at n = 60, seed 0"):
        collect.numbers(TARGETS.get("own"), found)
