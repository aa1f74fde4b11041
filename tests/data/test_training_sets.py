"""Training sets: nested, balanced, independent of everything but model, bucket and seed (paper section 3)."""

import hashlib
import subprocess
import sys

import pandas as pd
import pytest

from repository import ROOT
from sftlens.data import training_sets
from sftlens.data.relations import ID_RELATIONS
from sftlens.errors import DataError, TrainingError

SIZES = {"P17": 12, "P19": 3, "P131": 7}
SCRIPTS = ROOT / "scripts"


@pytest.fixture
def facts():
    """Train facts of three relations in two buckets, and test facts that must never be drawn."""
    rows = [
        (f"{split}/{relation}/{i:05d}", split, relation, bucket, f"{relation} {bucket} {i}?", "A")
        for split in ("train", "test")
        for relation, size in sorted(SIZES.items())
        for bucket in ("D2", "D3")
        for i in range(size if bucket == "D2" else 2 * size)
    ]
    table = pd.DataFrame(rows, columns=["fact_id", "split", "relation", "bucket", "question", "object"])
    table["fact_id"] += table["bucket"]
    return table


def order(facts, train_set="D2", seed=0, model="tiny"):
    return training_sets.order(facts, train_set, seed, model)


def test_relations_take_turns_in_their_order_and_exhausted_ones_are_skipped(facts):
    relations = order(facts)["relation"].tolist()
    assert relations[:6] == ["P17", "P19", "P131", "P17", "P19", "P131"]
    assert relations == ["P17", "P19", "P131"] * 3 + ["P17", "P131"] * 4 + ["P17"] * 5


def test_an_order_holds_the_whole_bucket_of_the_train_split_once(facts):
    drawn = order(facts)
    wanted = facts[(facts["split"] == "train") & (facts["bucket"] == "D2")]
    assert sorted(drawn["fact_id"]) == sorted(wanted["fact_id"])
    assert list(drawn.columns) == list(facts.columns)
    assert len(order(facts, "mixed")) == 3 * sum(SIZES.values())


def test_order_depends_on_seed_model_and_bucket_and_on_nothing_else(facts):
    ids = order(facts)["fact_id"].tolist()
    assert ids == order(facts.sample(frac=1, random_state=3))["fact_id"].tolist()
    assert ids != order(facts, seed=1)["fact_id"].tolist()
    assert ids != order(facts, model="other")["fact_id"].tolist()
    mixed = order(facts, "mixed")
    assert ids != mixed.loc[mixed["bucket"] == "D2", "fact_id"].tolist()


def test_the_order_is_pinned(facts):
    """A change of this order makes every published training set another one."""
    pinned = ["P17/00001", "P19/00001", "P131/00003", "P17/00011"]
    assert order(facts)["fact_id"].head(4).tolist() == [f"train/{name}D2" for name in pinned]


def test_the_order_within_a_relation_is_that_of_the_hashes(facts):
    drawn = order(facts)
    for _, ids in drawn.groupby("relation")["fact_id"]:
        hashes = [hashlib.sha256(f"tiny\0D2\0{0}\0{fact_id}".encode()).hexdigest() for fact_id in ids]
        assert hashes == sorted(hashes)


def test_sets_of_one_seed_are_nested(facts):
    drawn = order(facts)
    small, large = training_sets.take(drawn, 5), training_sets.take(drawn, "12")
    assert large["fact_id"].tolist()[:5] == small["fact_id"].tolist()
    assert len(training_sets.take(drawn, "all")) == sum(SIZES.values())


def test_a_bucket_smaller_than_the_scale_is_refused_unless_allowed(facts):
    drawn = order(facts)
    with pytest.raises(TrainingError, match=r"D2 has 22 facts, fewer than the scale 60: lower .*`allow_smaller"):
        training_sets.take(drawn, 60)
    assert len(training_sets.take(drawn, 60, allow_smaller=True)) == 22


@pytest.mark.parametrize("scale", [0, "-1", "many"])
def test_a_scale_that_is_no_number_is_refused(facts, scale):
    with pytest.raises(TrainingError, match="give a number of facts"):
        training_sets.take(order(facts), scale)


def test_empty_unknown_and_duplicate_are_refused(facts):
    with pytest.raises(TrainingError, match="training set D0 is empty: none of the 66 train facts"):
        order(facts, "D0")
    with pytest.raises(TrainingError, match="'D5' is unknown"):
        order(facts, "D5")
    with pytest.raises(DataError, match="stands twice"):
        order(pd.concat([facts, facts]))


def test_shares_and_name(facts):
    first = training_sets.take(order(facts), 6)
    assert training_sets.shares(first) == {relation: pytest.approx(1 / 3) for relation in ("P17", "P19", "P131")}
    assert training_sets.name(first) == "D2"
    assert training_sets.name(order(facts, "mixed")) == "mixed"
    assert training_sets.shares(first.drop(columns="relation")) == {}


def test_training_order_is_a_permutation_of_its_own_for_each_seed_size_and_epoch():
    once = training_sets.training_order(50, 0)
    assert sorted(once) == list(range(50)) and once == training_sets.training_order(50, 0)
    others = [training_sets.training_order(50, 1), training_sets.training_order(50, 0, epoch=1)]
    assert once not in others and once != training_sets.training_order(51, 0)[:50]


def test_relations_of_the_study_come_first():
    assert ID_RELATIONS[:3] == ("P17", "P19", "P20")


def test_script_writes_the_order(facts, tmp_path):
    facts.to_parquet(tmp_path / "mastery.parquet")
    options = [
        "--mastery",
        tmp_path / "mastery.parquet",
        "--model-name",
        "tiny",
        "--out",
        tmp_path / "o.parquet",
    ]
    command = [sys.executable, SCRIPTS / "training_set.py", "--seed", "0", *options]
    subprocess.run([*command, "--train-set", "D2"], check=True)
    assert pd.read_parquet(tmp_path / "o.parquet")["fact_id"].tolist() == order(facts)["fact_id"].tolist()
    (tmp_path / "o.parquet").unlink()
    failed = subprocess.run([*command, "--train-set", "D4"], capture_output=True, text=True)
    assert failed.returncode == 1 and failed.stderr.startswith("error: training set D4 is empty")
    assert not (tmp_path / "o.parquet").exists() and len(failed.stderr.splitlines()) == 1
