"""The teacher-forced probability of the answer against a plain forward pass of each text."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, models, trainers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from probe_tables import SENTENCES, facts_table
from sftlens.config.stages.mastery import ProbingSettings
from sftlens.data import relations
from sftlens.errors import DataError, ModelError
from sftlens.mastery.completions import Probe
from sftlens.mastery.quality import answer_probability
from tiny import TEXTS, tiny_model, tiny_tokenizer

ANSWERS = (["Norwenia"], ["Port Vale", "Oslo", "Port"], ["e", "Torburg"])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedModel:
    return tiny_model(tmp_path_factory.mktemp("model"))


def probe(model: PreTrainedModel, tokenizer: Any, batch_tokens: int, *progress: Any) -> Probe:
    return Probe(model, tokenizer, SENTENCES, ProbingSettings(batch_tokens=batch_tokens), *progress)


def joining_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer that joins words, so that a sentence's last token may reach into the answer."""
    tokenizer = Tokenizer(models.BPE())
    texts = [f"{text} in Port Vale, in Oslo" for text in TEXTS] * 3
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=390, special_tokens=["<s>", "</s>"]))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def asked() -> pd.DataFrame:
    facts = facts_table(("test",))
    return facts.assign(aliases=[ANSWERS[i % 3] for i in range(len(facts))])


def plainly(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, sentence: str, answer: str) -> float:
    """Return the probability by one pass over the whole text, without cache or batch."""
    whole, start = tokenizer(f"{sentence} {answer}")["input_ids"], tokenizer(sentence)["input_ids"]
    while whole[: len(start)] != start:
        start = start[:-1]
    with torch.inference_mode():
        logs = torch.log_softmax(model(torch.tensor([whole])).logits[0].double(), -1)
    return float(np.exp(sum(logs[i - 1, whole[i]].item() for i in range(len(start), len(whole)))))


@pytest.mark.parametrize("make", [tiny_tokenizer, joining_tokenizer])
def test_it_is_that_of_a_plain_forward_pass(model: PreTrainedModel, make) -> None:  # type: ignore[no-untyped-def]
    tokenizer, facts = make(), asked()
    found = answer_probability.probabilities(probe(model, tokenizer, 60), facts)
    for fact, row in zip(facts.itertuples(), found.itertuples(), strict=True):
        texts = [relations.fill(sentence, fact.subject) for sentence in SENTENCES[fact.relation]]
        wanted = [max(plainly(model, tokenizer, text, answer) for answer in fact.aliases) for text in texts]
        np.testing.assert_allclose(row.template_probabilities, wanted, rtol=1e-4)
        assert row.answer_probability == pytest.approx(np.mean(wanted), rel=1e-4)
    assert found["fact_id"].tolist() == facts["fact_id"].tolist()


def test_a_joined_token_is_scored_with_the_answer() -> None:
    tokenizer = joining_tokenizer()
    sentence = relations.fill(SENTENCES["P19"][0], "Port Vale")
    start, whole = tokenizer(sentence)["input_ids"], tokenizer(f"{sentence} Oslo")["input_ids"]
    assert whole[: len(start)] != start  # the case that is at stake
    length = answer_probability.shared_prefix(start, whole)
    assert 0 < length < len(start) and whole[:length] == start[:length]
    assert answer_probability.shared_prefix([1, 5, 9], [1, 5, 9, 7]) == 3


def test_batches_do_not_change_it(model: PreTrainedModel) -> None:
    small, large = (answer_probability.probabilities(probe(model, tiny_tokenizer(), n), asked()) for n in (1, 10**6))
    np.testing.assert_allclose(small["answer_probability"], large["answer_probability"], rtol=1e-4)


def test_each_prompt_is_computed_once(model: PreTrainedModel) -> None:
    seen: list[int] = []
    answer_probability.probabilities(probe(model, tiny_tokenizer(), 100, seen.append), asked())
    assert sum(seen) == sum(len(SENTENCES[relation]) for relation in asked()["relation"])


def test_a_text_beyond_the_context_and_damaged_weights_are_refused(tmp_path: Path) -> None:
    model, tokenizer = tiny_model(tmp_path), tiny_tokenizer()
    long = asked().assign(subject="a very long name " * 60)
    with pytest.raises(DataError, match="do not fit the model's context"):
        answer_probability.probabilities(probe(model, tokenizer, 100), long)
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(ModelError, match="NaN"):
        answer_probability.probabilities(probe(model, tokenizer, 100), asked())


def test_no_facts_have_no_probabilities(model: PreTrainedModel) -> None:
    found = answer_probability.probabilities(probe(model, tiny_tokenizer(), 100), asked().head(0))
    assert found.empty and "answer_probability" in found


def test_no_facts_have_no_calibration() -> None:
    assert answer_probability.calibration(np.array([]), np.array([])) == []


def test_calibration_on_numbers_worked_out_by_hand() -> None:
    rows = answer_probability.calibration(np.array([0.02, 0.04, 0.35, 1.0]), np.array([0.0, 0.1, 0.5, 1.0]))
    bins = {row["bucket"]: row["value"] for row in rows if row["metric"] == "mastery_by_probability"}
    assert bins == pytest.approx({"probability 0-0.1": 0.05, "probability 0.3-0.4": 0.5, "probability 0.9-1": 1.0})
    found = {row["metric"]: row["value"] for row in rows if "bucket" not in row}
    assert found["probability_ece"] == pytest.approx((2 * 0.02 + 0.15 + 0) / 4)
    assert found["probability_brier"] == pytest.approx((0.02**2 + 0.06**2 + 0.15**2) / 4)
    assert found["probability_spearman"] == pytest.approx(1)
