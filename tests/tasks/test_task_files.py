"""XSum and GSM8K: their published files, their scores, and what is said of files that are none."""

import json
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from rouge_score import rouge_scorer

from sftlens.data import rows
from sftlens.errors import DataError
from sftlens.inference import prompts
from sftlens.tasks import TASKS, recognised
from sftlens.tasks.gsm8k import final_number
from tiny import tiny_tokenizer

XSUM = {"document": "A bridge was opened in Port Vale on Monday.\nMany came.", "summary": "A bridge opens.", "id": "77"}
GSM8K = {"question": "Ada has 3 nuts and buys 4. How many?", "answer": "3 + 4 = <<3+4=7>>7\n#### 7"}


def written(path: Path, *examples: dict) -> Path:
    if path.suffix == ".parquet":
        pd.DataFrame(examples).to_parquet(path)
    else:
        path.write_text("".join(json.dumps(example) + "\n" for example in examples), encoding="utf-8")
    return path


@pytest.mark.parametrize("ending", ["jsonl", "parquet", "jsonl.gz"])
def test_published_files_as_they_are(tmp_path: Path, ending: str) -> None:
    if ending.endswith("gz"):
        import gzip

        path = tmp_path / "x.jsonl.gz"
        path.write_bytes(gzip.compress(json.dumps(XSUM).encode()))
    else:
        path = written(tmp_path / f"x.{ending}", XSUM)
    table = TASKS.get("xsum").read(path)
    assert table.to_dict("records") == [{"fact_id": "xsum/77", "question": XSUM["document"], "object": XSUM["summary"]}]
    if not ending.endswith("gz"):
        table = TASKS.get("gsm8k").read(written(tmp_path / f"g.{ending}", GSM8K, {**GSM8K, "question": "Again?"}))
        assert table["fact_id"].tolist() == ["gsm8k/1", "gsm8k/2"] and table["object"].iloc[0] == GSM8K["answer"]


@pytest.mark.parametrize(
    ("task", "example", "message"),
    [
        (
            "xsum",
            {"document": "A."},
            "column 'summary' is missing (there are: document); a file of task xsum has 'document'",
        ),
        ("xsum", {"document": "A.", "summary": " "}, "line 1: column 'summary' holds ' ', no text"),
        ("gsm8k", {"question": "How many?"}, "column 'answer' is missing"),
        (
            "gsm8k",
            {"question": "How many?", "answer": "Seven."},
            "line 1: column 'answer' holds 'Seven.', no target of",
        ),
        ("gsm8k", {"question": 7, "answer": "#### 7"}, "line 1: column 'question' holds 7, no text"),
    ],
)
def test_a_file_with_a_missing_field_is_one_line(tmp_path: Path, task: str, example: dict, message: str) -> None:
    path = written(tmp_path / "t.jsonl", example)
    with pytest.raises(DataError) as caught:
        TASKS.get(task).read(path)
    assert str(caught.value).startswith(str(path)) and message in str(caught.value)


def test_a_file_is_recognised_by_its_fields(tmp_path: Path) -> None:
    def of(*examples: dict) -> str | None:
        found = recognised([row for _, row in rows.rows(written(tmp_path / "r.jsonl", *examples))])
        return found and found.name

    assert of(XSUM) == "xsum" and of(GSM8K) == "gsm8k"
    assert of(GSM8K, {"question": "Where?", "answer": "Oslo"}) is None  # facts
    assert of({"prompt": "Where?", "target": "Oslo"}) is None


def test_the_final_number_of_a_solution() -> None:
    numbers = {
        "3 + 4 = <<3+4=7>>7\n#### 7": "7", "#### $1,234.50 in all": "1234.50", "It is 12, or 13 apples.": "13",
        "5-3": "3", "minus -2.5.": "-2.5", "#### 7\nnext: 9": "7", "7.0": "7.0", "about .5": ".5",
    }  # fmt: skip
    assert {text: final_number(text) for text in numbers} == {text: Decimal(n) for text, n in numbers.items()}
    assert final_number("none") is None
    judge = TASKS.get("gsm8k").judgements["final_number"]
    assert (
        judge("so 7.00", [GSM8K["answer"]]) and not judge("8", [GSM8K["answer"]]) and not judge("", [GSM8K["answer"]])
    )


def test_rouge_is_that_of_rouge_score() -> None:
    judge = TASKS.get("xsum").judgements
    # The package's own example, and texts whose words only match by their stems.
    pairs = [
        ("The quick brown fox jumps over the lazy dog", "The quick brown dog jumps on the log."),
        ("A bridge opened", "Bridges are opening."), ("", "A bridge opens."), ("Ünïcode çity 5", "5 cities"),
    ]  # fmt: skip
    theirs = rouge_scorer.RougeScorer(list(judge), use_stemmer=True)
    for output, summary in pairs:
        wanted = {name: score.fmeasure for name, score in theirs.score(summary, output).items()}
        assert {name: score(output, [summary]) for name, score in judge.items()} == wanted
    one, other = pairs[0]
    assert [round(judge[name](one, [other]), 4) for name in judge] == [0.7059, 0.2667, 0.5882]
    assert judge["rouge1"](one, ["nothing", one]) == 1.0


def test_a_long_article_is_cut_at_a_word_and_the_summary_never_is() -> None:
    tokenizer, article = tiny_tokenizer(), "The bridge of Port Vale was opened. " * 30
    [sample] = prompts.encode_samples(tokenizer, [article], ["A bridge opens."], 100, "xsum")
    text = tokenizer.decode(sample.input_ids)
    assert len(sample.input_ids) <= 100 and text.endswith("<|answer|> A bridge opens. </s>")
    [cut] = prompts.shortened(tokenizer, [article], [60], "xsum")
    assert article.startswith(cut + " ") and len(prompts.encode_prompts(tokenizer, [cut], task="xsum")[0]) <= 60
    assert (
        len(prompts.encode_prompts(tokenizer, [article[: len(cut) + 12]], task="xsum")[0]) > 60
    )  # no more is cut than need be
    assert prompts.shortened(tokenizer, ["A short one."], [60], "xsum") == ["A short one."]
    with pytest.raises(DataError, match=r"leaves no room .*tasks.xsum.max_length"):
        prompts.shortened(tokenizer, [article], [5], "xsum")
    with pytest.raises(DataError, match="more than max_length = 100"):  # a problem is not cut
        prompts.encode_samples(tokenizer, [article], ["#### 7"], 100, "gsm8k")
