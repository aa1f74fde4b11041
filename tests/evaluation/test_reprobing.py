"""Asking a model: answers and, when wanted, the mastery of a fixed sample of the test facts once more."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from probe_tables import SENTENCES, facts_table
from sftlens.config.stages.evaluation import EvaluationSettings
from sftlens.config.stages.mastery import ProbingSettings
from sftlens.evaluation import answering
from sftlens.mastery import mastery_table
from sftlens.mastery.completions import Probe
from sftlens.models import checkpoints
from tiny import tiny_model, tiny_tokenizer

WORDS = ("red", "river", "north", "mine", "deep", "old", "silver", "creek", "hill")
PROBING = ProbingSettings(samples=5, max_new_tokens=4)


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """A model, its tokenizer, and facts with the mastery that this very model has of them."""
    facts = facts_table()
    tokenizer = tiny_tokenizer([*facts["question"], *facts["subject"]])
    folder = tmp_path_factory.mktemp("model") / "m"
    tiny_model(folder)
    model = checkpoints.load_model(folder)
    return model, tokenizer, mastery_table.probe(Probe(model, tokenizer, SENTENCES, PROBING), facts)


def test_the_sample_is_fixed_and_of_test_facts(probed: tuple) -> None:
    facts = probed[2]
    chosen = answering.subset(facts, 3)
    assert len(chosen) == 3 and set(chosen["split"]) == {"test"}
    shuffled = facts.sample(frac=1, random_state=1)
    assert answering.subset(shuffled, 3)["fact_id"].tolist() == chosen["fact_id"].tolist()


def test_a_model_probed_again_is_sampled_anew(probed: tuple) -> None:
    model, tokenizer, facts = probed
    table = answering.reprobe(Probe(model, tokenizer, SENTENCES, PROBING, of="a"), facts, 100)
    again = answering.reprobe(Probe(model, tokenizer, SENTENCES, PROBING, of="a"), facts, 100)
    other = answering.reprobe(Probe(model, tokenizer, SENTENCES, PROBING, of="b"), facts, 100)
    assert table["mastery"].tolist() == again["mastery"].tolist() != table["base_mastery"].tolist()
    assert table["mastery"].tolist() != other["mastery"].tolist()
    assert table["base_mastery"].tolist() == answering.subset(facts, 100)["mastery"].tolist()
    rows = pd.DataFrame(answering.reprobed_metrics(table))
    every = rows[rows["bucket"] == "all"].set_index("metric")["value"]
    assert every["reprobed_mastery"] == pytest.approx(table["mastery"].mean())
    assert every["base_mastery"] == pytest.approx(table["base_mastery"].mean())


def test_answers_that_depend_on_what_is_computed_beside_them_are_counted(tmp_path: Path) -> None:
    """In half precision near-ties go either way: the floor below which a difference says nothing."""
    questions = [" ".join(["Who owns", *(WORDS[(i * j + j) % 9] for j in range(1, 2 + i % 14))]) for i in range(120)]
    facts = pd.DataFrame({"question": sorted(set(questions)), "split": "test", "object": "x"})
    facts["fact_id"] = facts["question"]
    tokenizer = tiny_tokenizer(questions)
    tiny_model(tmp_path / "m", tokenizer=tokenizer, std=0.2, dtype=torch.bfloat16)
    model, settings = checkpoints.load_model(tmp_path / "m"), EvaluationSettings(rebatched=1000)
    rows = {row["metric"]: row for row in answering.measure(tmp_path, model, tokenizer, facts, None, settings)}
    together, alone = (
        answering.answer(model, tokenizer, facts, EvaluationSettings(batch_tokens=size))["output"]
        for size in (16384, 1)
    )
    differ = (together != alone).sum()
    assert differ > 0 and rows["rebatched_output"]["value"] == differ / len(facts)
    assert rows["rebatched_output"]["n"] == len(facts) and rows["rebatched_contains"]["high"] > 0
    for other, wanted in ((model, EvaluationSettings(rebatched=0)), (model.float(), settings)):
        assert not any(
            "rebatched" in r["metric"] for r in answering.measure(tmp_path, other, tokenizer, facts, None, wanted)
        )


def test_answers_carry_the_new_mastery_of_the_sample(probed: tuple, tmp_path: Path) -> None:
    model, tokenizer, facts = probed
    settings = EvaluationSettings(max_new_tokens=4, reprobe=2)
    probe = Probe(model, tokenizer, SENTENCES, PROBING, of="a")
    metrics = answering.measure(tmp_path, model, tokenizer, facts, None, settings, probe=probe)
    answers = pd.read_parquet(tmp_path / "answers.parquet")
    found = answers.dropna(subset=["reprobed_mastery"]).set_index("fact_id")["reprobed_mastery"]
    wanted = answering.reprobe(probe, facts, 2)
    assert found.to_dict() == wanted.set_index("fact_id")["mastery"].to_dict()
    assert "reprobed_mastery" in {row["metric"] for row in metrics}
    plain = answering.measure(tmp_path / "plain", model, tokenizer, facts, None, settings)
    assert "reprobed_mastery" not in {row["metric"] for row in plain}
    assert "reprobed_mastery" not in pd.read_parquet(tmp_path / "plain" / "answers.parquet")
