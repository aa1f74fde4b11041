"""A quota: train facts are probed until every training set of the study is as full as after all of them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from demo_study import demo
from probe_tables import SENTENCES, facts_table
from probed_models import make, options
from script_calls import ok
from sftlens.config.stages.mastery import ProbingSettings
from sftlens.dag.jobs import Jobs
from sftlens.data import training_sets
from sftlens.errors import ConfigError
from sftlens.files import read_json, write_parquet
from sftlens.mastery import mastery_table, probe_shards, probing
from sftlens.mastery.probing import Quota
from sftlens.models import checkpoints

BUCKETS = ("D1", "D2")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_shards, "SHARD_FACTS", 4)


def facts() -> pd.DataFrame:
    """Many train facts; those of P19 are few, so that the quota exhausts them."""
    many = facts_table(("train", "test"), 40)
    return many[(many["split"] == "test") | (many["relation"] == "P17") | (many.index % 8 == 0)].iloc[:96]


@pytest.fixture(scope="module")
def probed(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, probing.Probed]:
    """The facts probed in full, with a quota, and with the same quota where nothing need be drawn."""
    loaded = checkpoints.load_model(inputs / "base"), checkpoints.load_tokenizer(inputs / "base")
    state = tmp_path_factory.mktemp("state")

    def prober(quota: float | None, where: Path) -> probing.Prober:
        settings = ProbingSettings(samples=2, max_new_tokens=3, quota=quota)
        return probing.Prober(lambda: loaded, {"model": "m"}, SENTENCES, settings, where)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe_shards, "SHARD_FACTS", 4)
        needs = dict.fromkeys(BUCKETS, 6)
        return {
            "full": probing.probe(facts(), prober(None, state)),
            "quota": probing.probe(facts(), prober(1.5, state / "other"), needs=needs),
            "again": probing.probe(facts().iloc[::-1], prober(1.5, state), needs=needs),
        }


def test_what_is_left_out_changes_no_training_set_s_balance(probed: dict[str, probing.Probed]) -> None:
    full, part = probed["full"].table, probed["quota"].table
    assert (part["split"] == "train").sum() < (full["split"] == "train").sum()
    wanted = full.set_index("fact_id").loc[part["fact_id"]].reset_index()
    pd.testing.assert_frame_equal(part, wanted[part.columns])
    assert part["fact_id"].tolist() == [i for i in full["fact_id"] if i in set(part["fact_id"])]
    assert (part["split"] == "test").sum() == (full["split"] == "test").sum()
    for bucket in BUCKETS:
        orders = [training_sets.order(table, bucket, 0, "m") for table in (full, part)]
        assert len(orders[1]) >= 9
        for n in range(1, 10):
            shares = [training_sets.shares(training_sets.take(order, n)) for order in orders]
            assert shares[0] == shares[1]
    assert (part["relation"] == "P19").sum() == (full["relation"] == "P19").sum()  # exhausted: P17 makes up for it


def test_a_quota_takes_the_same_facts_whatever_is_finished(probed: dict[str, probing.Probed]) -> None:
    first, again = probed["quota"], probed["again"]
    assert first.sampled == first.prompts and again.sampled == 0
    assert sorted(again.table["fact_id"]) == sorted(first.table["fact_id"]) and again.quota == first.quota


def test_the_record_says_what_was_probed(probed: dict[str, probing.Probed]) -> None:
    record, table = probed["quota"].quota, probed["quota"].table
    assert record and probed["full"].quota is None
    train = table[table["split"] == "train"]
    assert record["probed"] == train["relation"].value_counts().to_dict()
    assert record["wanted"] == dict.fromkeys(BUCKETS, 9) and record["factor"] == 1.5
    assert record["found"] == {bucket: int((train["bucket"] == bucket).sum()) for bucket in BUCKETS}
    every = facts().query("split == 'train'")["relation"].value_counts().to_dict()
    assert record["of"] == every and "until" in record["rule"]


@pytest.mark.parametrize("seed", range(20))
def test_any_counts_end_full_or_exhausted(seed: int) -> None:
    draw = np.random.default_rng(seed)
    relations = ["P17", "P19", "P20", "P36"]
    names, rates, sizes = ["D0", "D1", "D4"], [0.6, 0.3, 0.1], draw.integers(1, 60, len(relations))
    pools = {r: draw.choice(names, n, p=rates).tolist() for r, n in zip(relations, sizes, strict=True)}
    quota = Quota(2, {"D1": int(draw.integers(1, 30)), "D4": 3}, relations)
    rest = {r: list(pool) for r, pool in pools.items()}
    while short := quota.short([r for r in relations if rest[r]]):
        for relation in short:
            quota.add(relation, rest[relation][:5])
            del rest[relation][:5]
    known = {r: pool[: len(pool) - len(rest[r])] for r, pool in pools.items()}
    for bucket, wanted in quota.wanted.items():
        assert turns(known, bucket, wanted) == turns(pools, bucket, wanted)


def turns(pools: dict[str, list[str]], bucket: str, wanted: int) -> dict[str, int]:
    """How many facts a training set takes from each relation, taking turns one by one."""
    left = {relation: pool.count(bucket) for relation, pool in pools.items()}
    taken = dict.fromkeys(pools, 0)
    while sum(taken.values()) < wanted and any(left[r] > taken[r] for r in pools):
        for relation in pools:
            if sum(taken.values()) < wanted and taken[relation] < left[relation]:
                taken[relation] += 1
    return taken


def test_the_script_leaves_unprobed_facts_out_and_says_so(inputs: Path, tmp_path: Path) -> None:
    write_parquet(tmp_path / "facts.parquet", facts())
    more = ["--quota", "1", "--quota-needs", "D1=3", "--keep-texts"]
    ok("mastery.py", *options(inputs, tmp_path / "m.parquet", *more, facts=tmp_path / "facts.parquet"))
    table, summary = pd.read_parquet(tmp_path / "m.parquet"), read_json(tmp_path / "m.json")
    assert set(pd.read_parquet(tmp_path / "m-texts.parquet")["fact_id"]) == set(table["fact_id"])
    assert len(table) < len(facts()) and summary["quota"]["largest_scale"] == {"D1": 3}
    metrics = {row["split"]: row["metric"] for row in summary["metrics"]}
    assert metrics == {"train": "facts_probed", "test": "facts"}
    with pytest.raises(SystemExit):
        ok("mastery.py", *options(inputs, tmp_path / "n.parquet", "--quota", "2"))


def test_the_grid_says_what_its_training_sets_need() -> None:
    scaling = {"scales": [60, 240], "train_sets": ["D0", "D2"]}
    restoration = {"scales": [480], "train_sets": ["D2"], "ratios": [1]}
    experiments = {"scaling": scaling, "restoration": restoration}
    study = demo(probing__quota=2, experiments=experiments)
    given = Jobs(study).mastery_options(Tiny())
    assert given[given.index("--quota") + 1] == "2.0"
    assert given[given.index("--quota-needs") + 1 :] == ["D0=240", "D2=480"]
    plain = Jobs(demo())
    assert not {"--quota", "--quota-needs"} & set(plain.mastery_options(Tiny()))
    larger = demo(probing__quota=2, experiments={**experiments, "scaling": {**scaling, "scales": [960]}})
    folders = [Jobs(s).mastery(Tiny()) for s in (study, larger, demo())]
    assert len(set(folders)) == 3
    # Neither the choice of templates nor probing a tuned model again depends on it.
    assert Jobs(study).templates(Tiny()) == plain.templates(Tiny())


class Tiny:
    model = "tiny"


@pytest.mark.parametrize(("key", "value"), [("scales", "all"), ("train_sets", "mixed")])
def test_what_needs_every_fact_refuses_a_quota(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"experiments.scaling.{key}: `{value}` needs every train fact.*unset"):
        demo(probing__quota=2, experiments={"scaling": {"scales": [60], key: [value]}})


def test_texts_are_an_output_only_where_they_are_asked_for() -> None:
    with_texts, without = (Jobs(demo(probing__keep_texts=keep)) for keep in (True, False))
    assert with_texts.mastery_outputs().keys() - without.mastery_outputs().keys() == {"texts"}
    asked = [[Path(path).name for path in jobs.files()] for jobs in (with_texts, without)]
    assert ["mastery-texts.parquet" in names for names in asked] == [True, False]
    assert mastery_table.counts(facts_table().assign(bucket="D0"), partly=("train",))[0]["metric"] == "facts_probed"
