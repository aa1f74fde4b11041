"""Evaluation: what is asked, and how answers are judged."""

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from probe_tables import facts_table
from sftlens import inference
from sftlens.config.stages.evaluation import EvaluationSettings
from sftlens.errors import DataError
from sftlens.evaluation import answering
from sftlens.inference import prompts
from tiny import tiny_model, tiny_tokenizer

SETTINGS = EvaluationSettings(max_new_tokens=6)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedModel:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return tiny_tokenizer()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """Answer every question with ` Port Vale` and EOS; return the list that the prompts are put into."""
    seen: list[str] = []

    def fake(model: object, ids: list[list[int]], fact_ids: object, **options: object) -> list[list[int]]:
        seen.extend(str(tokenizer.decode(prompt)) for prompt in ids)
        ended = tokenizer(" Port Vale ", add_special_tokens=False)["input_ids"] + [2]
        return [ended if i % 2 == 0 else ended[:-1] for i in range(len(ids))]

    monkeypatch.setattr(inference, "greedy", fake)
    return seen


def test_answers_are_greedy_continuations_of_the_prompt(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    facts = facts_table(("test",)).assign(bucket="D2")
    answers = answering.answer(model, tokenizer, facts, SETTINGS)
    assert answers.columns.tolist() == answering.ANSWER_COLUMNS
    assert answers["fact_id"].tolist() == facts["fact_id"].tolist()
    assert answers["contains"].dtype == answers["well_formed"].dtype == bool
    for row, question, aliases in zip(answers.itertuples(), facts["question"], facts["aliases"], strict=True):
        ids = prompts.encode_prompts(tokenizer, [question])[0]
        tokens = inference.greedy(model, [ids], max_new_tokens=6, eos=2, batch_tokens=1)[0]
        assert row.output == tokenizer.decode(tokens, skip_special_tokens=True)
        assert row.contains == any(alias in row.output for alias in aliases)
        assert row.well_formed == (tokens[-1] == 2)
    again = answering.answer(model, tokenizer, facts.iloc[::-1], EvaluationSettings(max_new_tokens=6, batch_tokens=40))
    assert again["output"].tolist() == answers["output"].tolist()[::-1]


def test_answers_are_judged_by_object_or_alias(
    asked: list[str], model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    facts = facts_table(("test",)).head(4)
    facts["aliases"] = [["Torburg", "Vale"], ["port vale"], ["Port Vale"], ["Ada"]]
    answers = answering.answer(model, tokenizer, facts, SETTINGS)
    assert asked == [f"<s><|question|> {question} <|answer|>" for question in facts["question"]]
    assert answers["output"].tolist() == [" Port Vale "] * 4
    assert answers["contains"].tolist() == [True, False, True, False]
    assert answers["well_formed"].tolist() == [True, False, True, False]
    assert answers["bucket"].tolist() == [""] * 4
    facts["object"] = ["Vale", "x", "Port", "Ada"]
    alone = answering.answer(model, tokenizer, facts.drop(columns="aliases"), SETTINGS)
    assert alone["contains"].tolist() == [True, False, True, False]


def test_test_splits_and_the_training_set_are_asked(
    asked: list[str], model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    facts = facts_table().assign(bucket="D1")
    train = facts[facts["split"] == "train"].iloc[[4, 0]].drop(columns=["bucket", "split"])
    answers = answering.run(model, tokenizer, facts, train, SETTINGS)
    assert answers["split"].tolist() == ["dev"] * 6 + ["test"] * 6 + ["testood"] * 6 + ["train"] * 2
    assert answers["fact_id"].tolist()[-2:] == train["fact_id"].tolist()
    assert answers["bucket"].tolist() == ["D1"] * 18 + [""] * 2
    alone = answering.run(model, tokenizer, facts[facts["split"] != "dev"], None, SETTINGS)
    assert set(alone["split"]) == {"test", "testood"}
    unsplit = answering.run(model, tokenizer, facts.drop(columns="split"), None, SETTINGS)
    assert unsplit["split"].tolist() == ["test"] * len(facts)
    with pytest.raises(DataError, match="no fact is of split test or testood"):
        answering.run(model, tokenizer, facts[facts["split"] == "train"], None, SETTINGS)


def test_one_output_carries_every_judgement(
    asked: list[str], model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    facts = facts_table(("test",)).head(4)
    facts["aliases"] = [["Port Vale"], ["ort Val"], ["Port of Vale"], ["Vale"]]
    answers = answering.answer(model, tokenizer, facts, SETTINGS)
    assert len(asked) == 4
    assert answers["relation"].tolist() == facts["relation"].tolist()
    assert answers["contains"].tolist() == [True, True, False, True]
    assert answers["exact"].tolist() == [True, False, False, False]
    assert answers["word_boundary"].tolist() == [True, False, False, True]
    assert answers["f1"].tolist() == pytest.approx([1.0, 0.0, 0.8, 2 / 3])


def test_leaked_answers_and_questions_of_the_train_split_are_marked(
    asked: list[str], model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    facts = facts_table(("train", "test"))
    test = facts.index[facts["split"] == "test"]
    facts["aliases"] = [["no such answer", "Port"] for _ in facts.index]
    facts.at[test[1], "question"] = facts.loc[facts["split"] == "train", "question"].iloc[0]
    train = facts[facts["split"] == "train"].head(2)
    answers = answering.run(model, tokenizer, facts, train, SETTINGS)
    assert answers["leak"].tolist() == [
        "Port" in subject for subject in [*facts.loc[test, "subject"], *train["subject"]]
    ]
    assert answers["leak"].sum() == 2
    assert answers["in_train"].tolist() == [False, True, *[False] * 4, True, True]
    bare = answering.run(model, tokenizer, facts.loc[test].drop(columns="subject"), None, SETTINGS)
    assert {"leak", "in_train"}.isdisjoint(bare)  # what cannot be known is left out


def test_shots_come_from_train(asked: list[str], model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    facts = facts_table()
    examples = answering.solved(facts, 3)
    train = facts[facts["split"] == "train"]
    assert len(set(examples)) == 3
    assert set(examples) <= set(zip(train["question"], train["object"], strict=True))
    assert examples == answering.solved(facts, 3)
    assert any(answering.solved(facts, 3, seed) != examples for seed in range(1, 4))
    assert answering.solved(facts, 0) == []
    answering.run(model, tokenizer, facts, None, SETTINGS, examples=examples)
    solved = "".join(f"<|question|> {q} <|answer|> {a} " for q, a in examples)
    question = facts.loc[facts["split"] == "dev", "question"].iloc[0]
    assert asked[0] == f"<s>{solved}<|question|> {question} <|answer|>"
    for short in (facts[facts["split"] != "train"], facts.drop(columns="split")):
        with pytest.raises(DataError, match="3 shots need as many train facts, there are 0; lower `shots`"):
            answering.solved(short, 3)
