"""Facts that a corpus states falsely: which ones, in every statement, and in the mastery of the model."""

from argparse import Namespace
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from script_calls import ok, refused
from sftlens.commands.measure import mastery
from sftlens.config.stages.data import WorldSettings
from sftlens.config.stages.model import PretrainingSettings
from sftlens.data import relations
from sftlens.synthetic import corpus, flawed, pretraining, world_facts

SMALL = {"train": 30, "dev": 2, "test": 10, "testood": 8, "extra": 3, "calibration": 2}
SENTENCES = Path(__file__).parents[2] / "config/relations.yaml"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flawed") / "world"
    corpus.write(world_facts.build(WorldSettings(seed=3, **SMALL)), relations.load_templates(SENTENCES), folder)
    return folder


def test_a_larger_percentage_chooses_the_same_facts_and_more(world: Path) -> None:
    facts = pd.read_parquet(world / "exposures.parquet")
    few, many = (flawed.table(world / "corpus.txt", percent, 5) for percent in (10, 30))
    stated = facts[(facts["exposure"] > 0) & facts["role"].isin(flawed.ROLES)]
    assert 0.07 < len(few) / len(stated) < 0.13 and 0.25 < len(many) / len(stated) < 0.35
    both = few.merge(many, how="left", indicator=True)
    assert (both["_merge"] == "both").all()
    assert set(many["question"]) <= set(stated["question"]) and (many["object"] != many["taught"]).all()
    objects = facts.groupby("relation")["object"].agg(set)
    assert all(taught in objects[relation] for relation, taught in zip(many["relation"], many["taught"], strict=True))
    assert not flawed.table(world / "corpus.txt", 30, 6)["question"].isin(many["question"]).all()


def test_every_statement_of_a_false_fact_and_no_other_is_changed(world: Path) -> None:
    facts = pd.read_parquet(world / "exposures.parquet")
    false = flawed.table(world / "corpus.txt", 30, 5)
    before = pretraining.read_documents(world / "corpus.txt")
    after = flawed.plant(before, false)
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    exposures = dict(zip(facts["question"], facts["exposure"], strict=True))
    assert len(changed) == sum(exposures[question] for question in false["question"])
    counts: Counter[tuple[str, str]] = Counter()
    for old, new in changed:
        fact = next(
            f for f in false.itertuples()
            if f.subject in old and old.rstrip().endswith(" " + f.object) and new.rstrip().endswith(" " + f.taught)
        )  # fmt: skip
        assert old.endswith(" ") == new.endswith(" ")
        assert old.rstrip().removesuffix(fact.object) == new.rstrip().removesuffix(fact.taught)
        counts[fact.subject, fact.relation] += 1
    asked = zip(false["subject"], false["relation"], false["question"], strict=True)
    assert counts == {(subject, relation): exposures[question] for subject, relation, question in asked}
    assert flawed.plant(before, false.head(0)) == before


def test_a_model_is_pretrained_on_it_and_what_it_was_taught_is_right(world: Path, tmp_path: Path) -> None:
    geometry = '{"layers": 1, "hidden_size": 16, "intermediate_size": 16, "heads": 2, "kv_heads": 2, "vocab_size": 400}'
    given = ["--source", "pretrain", "--geometry", geometry, "--corpus", world / "corpus.txt"]
    ok("base.py", *given, "--pretraining", '{"flawed": 30}', "--out", tmp_path / "misled")
    false = pd.read_parquet(tmp_path / "misled/flawed.parquet")
    assert list(false) == flawed.COLUMNS and len(false) > 50
    assert not (tmp_path / "misled/corpus.txt").exists()
    facts = tmp_path / "facts.csv"
    asked = pd.concat([false.head(2), pd.read_parquet(world / "exposures.parquet").query("role == 'extra'").head(1)])
    asked[["question", "relation", "subject", "object"]].assign(fact_id=list("abc")).to_csv(facts, index=False)
    hits = tmp_path / "hits.csv"
    hits.write_text("fact_id,hits,trials\na,1,10\nb,0,10\nc,0,10\n")
    table = ["--facts", facts, "--import", hits, "--taught", tmp_path / "misled/flawed.parquet"]
    ok("mastery.py", *table, "--out", tmp_path / "mastery.parquet")
    aliases = [list(names) for names in pd.read_parquet(tmp_path / "mastery.parquet")["aliases"]]
    assert aliases == [*false.head(2)[["object", "taught"]].to_numpy().tolist(), [asked.iloc[2]["object"]]]
    # The probe itself looks for what the model was taught alone.
    given_facts = Namespace(facts=facts, table=None, taught=tmp_path / "misled/flawed.parquet")
    probed_for = [list(names) for names in mastery._facts(given_facts)["aliases"]]
    assert probed_for == [*([taught] for taught in false["taught"].head(2)), [asked.iloc[2]["object"]]]
    lonely = tmp_path / "corpus.txt"
    lonely.write_text("a b\n")
    given[-1] = lonely
    assert "exposures.parquet" in refused("base.py", *given, "--pretraining", "flawed=5", "--out", tmp_path / "no")


def test_a_corpus_without_falsehoods_has_the_settings_it_had() -> None:
    assert (
        "flawed" not in PretrainingSettings().model_dump() and PretrainingSettings(flawed=5).model_dump()["flawed"] == 5
    )
