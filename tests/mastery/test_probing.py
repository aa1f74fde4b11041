"""Probing in shards: the same numbers as in one go, nothing drawn twice, killed and resumed, side by side."""

import signal
import time
from dataclasses import replace
from pathlib import Path
from shutil import rmtree

import numpy as np
import pandas as pd
import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from probe_tables import SENTENCES, facts_table
from probed_models import SMALL_BATCHES, make, options, started, without
from script_calls import ok
from sftlens import inference
from sftlens.config.stages.mastery import ProbingSettings
from sftlens.data.scoring import contains
from sftlens.files import read_json, sha256, write_parquet
from sftlens.mastery import completions, mastery_table, probe_shards, probing
from sftlens.mastery.completions import Probe
from sftlens.models import checkpoints
from sftlens.runtime.result_version import RESULT_VERSION

PROBING = ProbingSettings(samples=4, max_new_tokens=3)
Loaded = tuple[PreTrainedModel, PreTrainedTokenizerFast]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def loaded(inputs: Path) -> Loaded:
    return checkpoints.load_model(inputs / "base"), checkpoints.load_tokenizer(inputs / "base")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_shards, "SHARD_FACTS", 4)
    monkeypatch.setattr(probe_shards, "GROUP_FACTS", 4)


@pytest.fixture
def prober(loaded: Loaded, tmp_path: Path):  # type: ignore[no-untyped-def]
    def made(sentences: dict[str, list[str]] = SENTENCES, loads: bool = True, **changes: object) -> probing.Prober:
        def load() -> Loaded:
            assert loads, "something was drawn"
            return loaded

        settings = PROBING.model_copy(update=changes)
        return probing.Prober(load, {"model": "m"}, sentences, settings, tmp_path / "state")

    return made


def test_a_fact_more_or_less_changes_few_shards() -> None:
    ids = [f"train/P17/{i:05d}" for i in range(500)]
    shards = [frozenset(ids[i] for i in shard) for shard in probe_shards.split(ids, 16)]
    assert sorted(fact for shard in shards for fact in shard) == ids
    assert max(map(len, shards)) <= 16 and len(shards) < 2 * 500 / 8
    shuffled = [*ids[250:], *ids[:250]]
    assert {frozenset(shuffled[i] for i in shard) for shard in probe_shards.split(shuffled, 16)} == set(shards)
    for gone in (0, 123, 499):
        rest = [*ids[:gone], *ids[gone + 1 :]]
        left = {frozenset(rest[i] for i in shard) for shard in probe_shards.split(rest, 16)}
        assert len(left - set(shards)) <= 1 and len(set(shards) - left) <= 2


def test_shards_give_the_table_of_one_go(loaded: Loaded, prober) -> None:  # type: ignore[no-untyped-def]
    facts, seen = facts_table(("train", "testood"), 6), []
    wanted = mastery_table.probe(Probe(*loaded, SENTENCES, PROBING, of="m"), facts)
    probed = probing.probe(facts, prober(), progress=seen.append)
    pd.testing.assert_frame_equal(probed.table, wanted)
    prompts = int(wanted["trials"].sum() / 4)
    assert probed.sampled == probed.prompts == sum(seen) == prompts and probed.quota is None


def test_fewer_templates_are_the_first_ones(loaded: Loaded, prober) -> None:  # type: ignore[no-untyped-def]
    facts = facts_table(("train", "test"))
    wanted = mastery_table.probe(Probe(*loaded, SENTENCES, PROBING, of="m"), facts)
    for table in (
        probing.probe(facts, prober(max_templates=2)).table,
        mastery_table.probe(Probe(*loaded, SENTENCES, PROBING.model_copy(update={"max_templates": 2}), of="m"), facts),
    ):
        assert table["template_hits"].tolist() == [hits[:2] for hits in wanted["template_hits"]]
        assert set(table["trials"]) == {8}


def test_nothing_is_drawn_twice(prober) -> None:  # type: ignore[no-untyped-def]
    facts = facts_table(("train", "test"), 6)
    first = probing.probe(facts, prober())
    seen: list[int] = []
    again = probing.probe(facts, prober(loads=False), progress=seen.append)
    assert again.sampled == 0 and sum(seen) == again.prompts
    pd.testing.assert_frame_equal(again.table, first.table)
    # Another study: other facts, in another order; then other sentences for one relation only.
    fewer = without(facts, "train/P17/00003").iloc[::-1]
    other = probing.probe(fewer, prober())
    assert 0 < other.sampled < first.sampled / 3
    wanted = first.table.set_index("fact_id")["hits"]
    assert other.table.set_index("fact_id")["hits"].to_dict() == wanted.drop("train/P17/00003").to_dict()
    reworded = {**SENTENCES, "P19": ["{subject} comes from"]}
    assert probing.probe(facts, prober(reworded)).sampled == (facts["relation"] == "P19").sum()
    # What completions depend on makes them be drawn again.
    renamed = facts.assign(aliases=[["another"] for _ in range(len(facts))])
    for changed, table in (({"seed": 1}, facts), ({"temperature": 0.5}, facts), ({}, renamed)):
        assert probing.probe(table, prober(**changed)).sampled == first.prompts


def test_texts_are_what_was_counted(prober, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    facts = facts_table(("train", "test"))
    probed = probing.probe(facts, prober(keep_texts=True), texts=tmp_path / "texts.parquet")
    texts = pd.read_parquet(tmp_path / "texts.parquet")
    assert texts.columns.tolist() == ["fact_id", "template", "text", "count"]
    assert not texts.duplicated(["fact_id", "template", "text"]).any() and len(texts) > probed.prompts
    aliases = facts.set_index("fact_id")["aliases"]
    pairs = zip(texts["fact_id"], texts["text"], strict=True)
    texts["hits"] = texts["count"] * [contains(text, aliases[fact_id]) for fact_id, text in pairs]
    counted = texts.groupby(["fact_id", "template"])[["count", "hits"]].sum()
    assert (counted["count"] == 4).all() and len(counted) == probed.prompts
    found = counted["hits"].groupby("fact_id").agg(list)
    assert found.to_dict() == probed.table.set_index("fact_id")["template_hits"].map(list).to_dict()
    # Drawn with their texts, they also serve who wants the numbers alone.
    pd.testing.assert_frame_equal(probing.probe(facts, prober(loads=False)).table, probed.table)


def test_equal_texts_of_different_tokens_count_together(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    word = loaded[1](" Oslo", add_special_tokens=False)["input_ids"]
    ends = [([], 1), ([*word, 0], 1), (word, 2)]  # 0 is <pad>, which is no text
    monkeypatch.setattr(inference, "sample", lambda *a, **k: iter([inference.Sampled(0, [0], np.array([0]), [ends])]))
    facts = facts_table(("train",), 1).head(1)
    (drawn,) = completions.sample(
        Probe(*loaded, {"P17": ["{subject} lies in"]}, PROBING, of="m"), facts, keep_texts=True
    )
    assert list(drawn.texts[0].items()) == [(" Oslo", 3), ("", 1)]


def journals(state: Path) -> set[Path]:
    return set(state.glob("probe-shards/*/resume/journal-*"))


def kill_at_random(arguments: list[object], state: Path, draw: np.random.Generator) -> bool:
    """Kill the script when it has journalled some more bytes; return False if it was done before."""
    earlier, wanted = journals(state), int(draw.integers(1, 700))
    running = started(arguments)
    while running.is_alive() and not any(size(path) >= wanted for path in journals(state) - earlier):
        time.sleep(0.001)
    running.kill()
    running.join()
    assert running.exitcode in (0, -signal.SIGKILL)
    return running.exitcode != 0


def size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # its shard was finished meanwhile
        return 0


def test_killed_at_random_points_it_ends_with_the_same_bytes(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_shards, "SHARD_FACTS", 16)
    more = [*SMALL_BATCHES, "--keep-texts"]
    ok("mastery.py", *options(inputs, tmp_path / "whole" / "m.parquet", *more))
    state = tmp_path / "state"
    arguments = options(inputs, tmp_path / "killed" / "m.parquet", *more, "--state", state)
    draw = np.random.default_rng()
    killed = 0
    while killed < 5 and kill_at_random(arguments, state, draw):
        killed += 1
        for path in journals(state):  # a record that was not written to its end
            path.write_bytes(path.read_bytes() + b"\x40\0\0\0torn")
    assert killed >= 2 and not (tmp_path / "killed").exists()
    ok("mastery.py", *arguments)
    for name in ("m.parquet", "m-texts.parquet"):
        assert sha256(tmp_path / "killed" / name) == sha256(tmp_path / "whole" / name)
    run = read_json(tmp_path / "killed" / "m.json")["run"]
    assert 0 < run["prompts_drawn"] < run["prompts"]
    assert journals(state) == set()


class Stop(Exception): ...


def test_small_shards_share_batches_and_are_kept_one_by_one(
    loaded: Loaded, prober, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    """Three facts a split and relation: sampled in the batches of one go, with the results of shards of their own."""
    facts, real, rows = facts_table(), inference.sample, []

    def noted(model: PreTrainedModel, prompts: list[list[int]], *rest: object, **more: object) -> object:
        rows.append(len(prompts))
        return real(model, prompts, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(inference, "sample", noted)
    tables, texts = [], []
    for most in (1, 64):
        monkeypatch.setattr(probe_shards, "GROUP_FACTS", most)
        made, seen, path = prober(keep_texts=True), [], tmp_path / f"{most}.parquet"
        made = replace(made, state=tmp_path / str(most))
        rows.clear()
        probed = probing.probe(facts, made, progress=seen.append, texts=path)
        assert sum(rows) == probed.sampled == probed.prompts == sum(seen)
        assert len(rows) == {1: 8, 64: 1}[most]
        tables.append(probed.table)
        texts.append(sha256(path))
    pd.testing.assert_frame_equal(*tables)
    assert texts[0] == texts[1]
    # Kept one by one: of another fact, and of one that was reworded, nothing else is sampled again.
    more = pd.concat([facts, facts.tail(1).assign(fact_id="testood/P19/9")])
    assert probing.probe(more, made).sampled == 4 * 2
    # One process sampled them all and was killed before it had kept each of them.
    for folder in list((tmp_path / "64/probe-shards").iterdir())[:5]:
        if len(pd.read_parquet(folder / "done/hits.parquet")) < 5:
            rmtree(folder)
    again = probing.probe(facts, replace(prober(keep_texts=True, loads=False), state=tmp_path / "64"))
    pd.testing.assert_frame_equal(again.table, tables[0])


def test_a_shard_goes_on_where_it_stopped(prober) -> None:  # type: ignore[no-untyped-def]
    def stop(prompts: int) -> None:
        if prompts:
            raise Stop

    facts = facts_table(("train",), 4)
    for batch_tokens in (60, 90):
        with pytest.raises(Stop):
            probing.probe(facts, prober(batch_tokens=batch_tokens), progress=stop)
    # Each time one batch was done; those that were cut otherwise do not count.
    assert probing.probe(facts, prober(batch_tokens=120)).sampled == 4 * 3 + 4 * 2


def test_two_models_and_two_studies_side_by_side(
    inputs: Path, loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As shards of a whole data set, which are too large to be sampled together.
    monkeypatch.setattr(probe_shards, "GROUP_FACTS", 1)
    facts = pd.read_parquet(inputs / "facts.parquet")
    write_parquet(tmp_path / "fewer.parquet", without(facts, "train/P17/00003"))
    state = ["--state", tmp_path / "state"]
    runs = {
        "one": options(inputs, tmp_path / "one.parquet", *state),
        "twin": options(inputs, tmp_path / "twin.parquet", *state),
        "fewer": options(inputs, tmp_path / "fewer-m.parquet", *state, facts=tmp_path / "fewer.parquet"),
        "other": options(inputs, tmp_path / "other.parquet", *state, model="ft"),
    }
    running = [started(arguments) for arguments in runs.values()]
    for each in running:
        each.join(timeout=120)
    assert [each.exitcode for each in running] == [0] * 4
    for name, model in (("one", "base"), ("other", "ft")):
        ok("mastery.py", *options(inputs, tmp_path / "alone" / f"{name}.parquet", model=model))
        assert sha256(tmp_path / f"{name}.parquet") == sha256(tmp_path / "alone" / f"{name}.parquet")
    assert sha256(tmp_path / "twin.parquet") == sha256(tmp_path / "one.parquet")
    one, fewer = (read_json(tmp_path / name)["run"] for name in ("one.json", "fewer-m.json"))
    # Only the shard that lost a fact is another one.
    assert one["prompts"] <= one["prompts_drawn"] + fewer["prompts_drawn"] <= one["prompts"] + 2 * 4 * 3


def test_a_raised_version_of_mastery_draws_nothing_again(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, drawn = ["--state", tmp_path / "state"], []
    for name, stage in (("one", None), ("two", "mastery"), ("three", "completions")):
        if stage:
            monkeypatch.setitem(RESULT_VERSION, stage, RESULT_VERSION[stage] + 1)
            monkeypatch.setitem(RESULT_VERSION, "mastery", RESULT_VERSION["mastery"] + 1)
        ok("mastery.py", *options(inputs, tmp_path / f"{name}.parquet", *given))
        drawn.append(read_json(tmp_path / f"{name}.json")["run"]["prompts_drawn"])
    assert drawn[0] == drawn[2] > 0 and drawn[1] == 0
    assert sha256(tmp_path / "one.parquet") == sha256(tmp_path / "two.parquet")
