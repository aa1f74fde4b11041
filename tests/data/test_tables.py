"""One reader for every table: four kinds by their ending, typed columns, faults with file, line, column and remedy."""

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from script_calls import ok, refused
from sftlens import files
from sftlens.data import tables
from sftlens.errors import DataError
from tiny import tiny_model

ROWS = [
    {"split": "test", "question": "Who?", "answers": ["Ada", "Bo, Jr."], "hits": 3},
    {"split": "train", "question": 'What "so"?', "answers": ["C"], "hits": 10},
]


def written(folder: Path, ending: str) -> Path:
    """Write ROWS as one kind of file."""
    path = folder / f"facts{ending}"
    plain = ending.lower().removesuffix(".gz")
    if plain in (".parquet", ".pq"):
        pd.DataFrame(ROWS).to_parquet(path)
        return path
    if plain in (".csv", ".tsv"):
        cells = [{**row, "answers": json.dumps(row["answers"])} for row in ROWS]
        text = pd.DataFrame(cells).to_csv(index=False, sep="\t" if plain == ".tsv" else ",")
    else:
        text = "\n".join(json.dumps(row) for row in ROWS) + "\n\n"
    content = text.encode("utf-8-sig")
    path.write_bytes(gzip.compress(content) if ending.lower().endswith(".gz") else content)
    return path


@pytest.mark.parametrize(
    "ending",
    [".parquet", ".PQ", ".csv", ".CSV", ".csv.gz", ".tsv", ".tsv.gz", ".jsonl", ".JSONL.GZ", ".json", ".ndjson"],
)
def test_every_kind_gives_the_same_table(tmp_path: Path, ending: str) -> None:
    table = tables.facts(written(tmp_path, ending), ["hits"], ["split", "bucket"])
    assert table["fact_id"].tolist() == ["test/Who?", 'train/What "so"?']
    assert [list(names) for names in table["aliases"]] == [["Ada", "Bo, Jr."], ["C"]]
    assert table["object"].tolist() == ["Ada", "C"]
    assert table["hits"].tolist() == [3, 10] and table["hits"].dtype == "int64"
    assert "bucket" not in table


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("code", [0x2028, 0x2029, 0x85])
def test_a_line_ends_at_a_newline_only(tmp_path: Path, code: int) -> None:
    question = f"Where{chr(code)}was Ada born?"
    line = json.dumps({"question": question, "answer": "Oslo"}, ensure_ascii=False)
    assert tables.facts(write(tmp_path / "f.jsonl", line + "\n"))["question"].tolist() == [question]
    assert tables.facts(write(tmp_path / "f.csv", f"question,answer\n{question},Oslo\n"))["question"].tolist() == [
        question
    ]


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        ('"[""iron"", ""IRON""]"', ["iron", "IRON"]),
        ("\"['iron', 'IRON']\"", ["iron", "IRON"]),
        ("iron|IRON", ["iron", "IRON"]),
        ("[iron", ["[iron"]),
    ],
)
def test_several_answers_in_one_cell(tmp_path: Path, cell: str, names: list[str]) -> None:
    table = tables.facts(write(tmp_path / "f.csv", f"question,answers\nWhat?,{cell}\n"))
    assert table["aliases"].tolist() == [names] and table["object"].tolist() == names[:1]


def test_other_names_stand_beside_the_object(tmp_path: Path) -> None:
    table = tables.facts(write(tmp_path / "f.csv", "question,object,aliases\nA?,x,y|z\nB?,w,\n"))
    assert table["aliases"].tolist() == [["x", "y", "z"], ["w"]]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("f.xlsx", "", "ends in '.xlsx'; give a Parquet (.parquet), CSV (.csv), TSV (.tsv) or JSON lines"),
        ("f.parquet", "question,answer\n", "not a readable Parquet file"),
        ("f.csv.gz", "question,answer\n", "is damaged or no gzip file"),
        ("f.csv", "question,question\na,b\n", "line 1: the column 'question' stands there twice"),
        ("f.csv", 'question,answer\na,"b\n', "no readable CSV"),
        ("f.csv", "question,answer,hits\na,b,3\nc,d,few\n", "line 3: column 'hits' holds 'few', no whole number"),
        ("f.csv", "question,answer,hits\na,b,3\n\na,d,4\n", "line 4: the question 'a' stands there twice"),
        ("f.jsonl", '{"question": 5, "answer": "b", "hits": 1}', "line 1: column 'question' holds 5, no text"),
        (
            "f.jsonl",
            '{"question": "a", "answer": 1969, "hits": 1}',
            "column 'answer' holds 1969, no text; write one (a",
        ),
        ("f.jsonl", '{"question": "a", "answers": {"value": "b"}, "hits": 1}', "holds {'value': 'b'}, no answer or a"),
        ("f.jsonl", '{"question": "a\\ud800", "answer": "b", "hits": 1}', "line 1: holds half of a surrogate pair"),
        ("f.jsonl", "[" * 100_000, "line 1: is nested too deeply"),
        ("f.jsonl", '{"question": "a", "answer": "b"}', "column 'hits' is missing (there are: question, answer)"),
    ],
)
def test_a_fault_is_one_line_with_file_and_remedy(tmp_path: Path, name: str, text: str, words: str) -> None:
    path = write(tmp_path / name, text)
    with pytest.raises(DataError) as caught:
        tables.facts(path, ["hits"])
    message = str(caught.value)
    assert message.startswith(str(path)) and words in message and "\n" not in message


def test_programs_take_a_users_own_files(tmp_path: Path) -> None:
    """Question and answer are all that an evaluation and a training need, in any kind of file."""
    tiny_model(tmp_path / "model")
    asked = "".join(f'"Where, in all, is N{i}?",Oslo\n' for i in range(4))
    facts = write(tmp_path / "facts.csv", "question,answer\n" + asked)
    train = write(tmp_path / "train.JSONL", '{"question": "Who?", "object": "Ada"}\n' * 4)
    ok("evaluate.py", "--model", tmp_path / "model", "--facts", facts, "--train", train, "--out", tmp_path / "out")
    answers = files.read_parquet(tmp_path / "out" / "answers.parquet")
    assert answers["split"].tolist() == ["test"] * 4 + ["train"] * 4
    ok(
        "finetune.py",
        "--model",
        tmp_path / "model",
        "--train",
        train,
        "--out",
        tmp_path / "tuned",
        "--dtype",
        "float32",
    )
    assert files.read_json(tmp_path / "tuned.json")["examples"] == 4
    message = refused(
        "finetune.py", "--model", tmp_path / "model", "--train", tmp_path / "t.txt", "--out", tmp_path / "x"
    )
    assert "t.txt" in message and "\n" not in message.strip()
