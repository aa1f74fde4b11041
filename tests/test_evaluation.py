"""Evaluation: what is asked, how answers are judged, and the rows of accuracy."""

from typing import Any

import pandas as pd
import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from probe_tables import facts_table
from sftlens import evaluation, generation, prompts, statistics
from sftlens.errors import DataError
from sftlens.settings.evaluation import EvaluationSettings
from tiny import tiny_model, tiny_tokenizer

SETTINGS = EvaluationSettings(max_new_tokens=6)
Rows = dict[tuple[str, str, str], dict[str, Any]]


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

    def fake(model: object, ids: list[list[int]], **options: object) -> list[list[int]]:
        seen.extend(str(tokenizer.decode(prompt)) for prompt in ids)
        ended = tokenizer(" Port Vale ", add_special_tokens=False)["input_ids"] + [2]
        return [ended if i % 2 == 0 else ended[:-1] for i in range(len(ids))]

    monkeypatch.setattr(generation, "greedy", fake)
    return seen


def test_answers_are_greedy_continuations_of_the_prompt(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    facts = facts_table(("test",)).assign(bucket="D2")
    answers = evaluation.answer(model, tokenizer, facts, SETTINGS)
    assert answers.columns.tolist() == evaluation.ANSWER_COLUMNS
    assert answers["fact_id"].tolist() == facts["fact_id"].tolist()
    assert answers["contains"].dtype == answers["well_formed"].dtype == bool
    for row, question, aliases in zip(answers.itertuples(), facts["question"], facts["aliases"], strict=True):
        ids = prompts.encode_prompt(tokenizer, question)
        tokens = generation.greedy(model, [ids], max_new_tokens=6, eos=2, batch_tokens=1)[0]
        assert row.output == tokenizer.decode(tokens, skip_special_tokens=True)
        assert row.contains == any(alias in row.output for alias in aliases)
        assert row.well_formed == (tokens[-1] == 2)
    again = evaluation.answer(model, tokenizer, facts.iloc[::-1], EvaluationSettings(max_new_tokens=6, batch_tokens=40))
    assert again["output"].tolist() == answers["output"].tolist()[::-1]


def test_answers_are_judged_by_object_or_alias(
    asked: list[str], model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    facts = facts_table(("test",)).head(4)
    facts["aliases"] = [["Torburg", "Vale"], ["port vale"], ["Port Vale"], ["Ada"]]
    answers = evaluation.answer(model, tokenizer, facts, SETTINGS)
    assert asked == [f"<s><|question|> {question} <|answer|>" for question in facts["question"]]
    assert answers["output"].tolist() == [" Port Vale "] * 4
    assert answers["contains"].tolist() == [True, False, True, False]
    assert answers["well_formed"].tolist() == [True, False, True, False]
    assert answers["bucket"].tolist() == [""] * 4
    facts["object"] = ["Vale", "x", "Port", "Ada"]
    alone = evaluation.answer(model, tokenizer, facts.drop(columns="aliases"), SETTINGS)
    assert alone["contains"].tolist() == [True, False, True, False]


def test_test_splits_and_the_training_set_are_asked(
    asked: list[str], model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    facts = facts_table().assign(bucket="D1")
    train = facts[facts["split"] == "train"].iloc[[4, 0]].drop(columns=["bucket", "split"])
    answers = evaluation.run(model, tokenizer, facts, train, SETTINGS)
    assert answers["split"].tolist() == ["test"] * 6 + ["testood"] * 6 + ["train"] * 2
    assert answers["fact_id"].tolist()[-2:] == train["fact_id"].tolist()
    assert answers["bucket"].tolist() == ["D1"] * 12 + [""] * 2
    alone = evaluation.run(model, tokenizer, facts, None, SETTINGS)
    assert set(alone["split"]) == {"test", "testood"}
    unsplit = evaluation.run(model, tokenizer, facts.drop(columns="split"), None, SETTINGS)
    assert unsplit["split"].tolist() == ["test"] * len(facts)
    with pytest.raises(DataError, match="no fact is of split test or testood"):
        evaluation.run(model, tokenizer, facts[facts["split"] == "train"], None, SETTINGS)


def test_shots_come_from_train(asked: list[str], model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    facts = facts_table()
    examples = evaluation.shots(facts, 3)
    train = facts[facts["split"] == "train"]
    assert len(set(examples)) == 3
    assert set(examples) <= set(zip(train["question"], train["object"], strict=True))
    assert examples == evaluation.shots(facts, 3)
    assert any(evaluation.shots(facts, 3, seed) != examples for seed in range(1, 4))
    assert evaluation.shots(facts, 0) == []
    evaluation.run(model, tokenizer, facts, None, SETTINGS, examples=examples)
    solved = "".join(f"<|question|> {q} <|answer|> {a} " for q, a in examples)
    question = facts.loc[facts["split"] == "test", "question"].iloc[0]
    assert asked[0] == f"<s>{solved}<|question|> {question} <|answer|>"
    for short in (facts[facts["split"] != "train"], facts.drop(columns="split")):
        with pytest.raises(DataError, match="3 shots need as many train facts, there are 0; lower `shots`"):
            evaluation.shots(short, 3)


def answers_of(groups: dict[tuple[str, str], list[tuple[int, int]]]) -> pd.DataFrame:
    """Return answers from lists of (contains, well_formed) by (split, bucket)."""
    return pd.DataFrame(
        [
            {"split": split, "bucket": bucket, "contains": bool(c), "well_formed": bool(w)}
            for (split, bucket), judged in groups.items()
            for c, w in judged
        ]
    )


def accuracy(groups: dict[tuple[str, str], list[tuple[int, int]]]) -> Rows:
    rows = evaluation.accuracy(answers_of(groups))
    return {(row["split"], row["bucket"], row["metric"]): row for row in rows}


FULL = {
    ("test", "D0"): [(0, 1), (0, 1), (0, 0), (1, 1)],
    ("test", "D1"): [(1, 1), (0, 1)],
    ("test", "D2"): [(1, 1), (1, 0)],
    ("test", "D3"): [(1, 1)],
    ("test", "D4"): [(1, 1), (1, 1), (0, 0), (1, 0)],
}


def test_accuracy_by_bucket_all_and_macro() -> None:
    rows = accuracy(FULL)
    assert len(rows) == 3 * 7
    row = rows["test", "D0", "contains"]
    assert (row["value"], row["n"]) == (0.25, 4) and (row["low"], row["high"]) == statistics.wilson(1, 4)
    row = rows["test", "all", "contains"]
    assert (row["value"], row["n"]) == (8 / 13, 13) and (row["low"], row["high"]) == statistics.wilson(8, 13)
    row = rows["test", "macro", "contains"]
    shares = [0.25, 0.5, 1.0, 1.0, 0.75]
    assert row["value"] == pytest.approx(0.7) and row["n"] == 13
    assert (row["value"], row["low"], row["high"]) == statistics.macro(shares, [4, 2, 2, 1, 4])
    assert rows["test", "macro", "well_formed"]["value"] == pytest.approx((0.75 + 1 + 0.5 + 1 + 0.5) / 5)
    row = rows["test", "D4", "contains_given_well_formed"]
    assert (row["value"], row["n"]) == (1.0, 2) and (row["low"], row["high"]) == statistics.wilson(2, 2)
    assert rows["test", "macro", "contains_given_well_formed"]["value"] == pytest.approx(
        (1 / 3 + 1 / 2 + 1 + 1 + 1) / 5
    )


@pytest.mark.parametrize("empty", ["D0", "D1", "D2", "D3", "D4"])
def test_with_an_empty_bucket_the_macro_is_undefined(empty: str) -> None:
    rows = accuracy({key: value for key, value in FULL.items() if key[1] != empty})
    assert not any("macro" in key or empty in key for key in rows)
    assert ("test", "all", "contains") in rows


def test_only_the_metric_that_lacks_answers_goes_without() -> None:
    rows = accuracy(FULL | {("test", "D3"): [(1, 0), (0, 0)]})
    assert ("test", "macro", "contains") in rows
    assert ("test", "macro", "contains_given_well_formed") not in rows
    assert ("test", "D3", "contains_given_well_formed") not in rows
    assert rows["test", "D3", "well_formed"]["value"] == 0


def test_splits_are_counted_apart_and_unknown_buckets_only_in_all() -> None:
    rows = accuracy(FULL | {("train", "D2"): [(1, 1)], ("testood", ""): [(0, 1), (1, 1)]})
    assert rows["train", "D2", "contains"]["n"] == 1 and ("train", "macro", "contains") not in rows
    assert {bucket for split, bucket, _ in rows if split == "testood"} == {"all"}
    assert rows["testood", "all", "contains"]["value"] == 0.5
    assert rows["test", "all", "contains"]["n"] == 13
