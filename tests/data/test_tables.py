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
        ("[REC]", ["[REC]"]),
        ("\"['iron' 'IRON']\"", ["iron", "IRON"]),  # as numpy prints an array
        ('"{""text"": [""iron""], ""answer_start"": [3]}"', ["iron"]),
        ("\"{'value': 'iron', 'aliases': ['Fe', 'iron']}\"", ["iron", "Fe"]),
        ("\"('iron', 'IRON')\"", ["iron", "IRON"]),
        ("\"array(['iron', 'IRON'], dtype=object)\"", ["iron", "IRON"]),  # as pandas prints what is in a dictionary
        ("\"{'text': array(['iron'], dtype=object), 'answer_start': array([3], dtype=int32)}\"", ["iron"]),
        ('"array(iron)"', ["array(iron)"]),
        ('"""iron"""', ["iron"]),  # a text as JSON
        ('"""iron"" or ""tin"""', ['"iron" or "tin"']),
        ("1969", ["1969"]),
        ("1969.0", ["1969.0", "1969"]),  # a column of numbers with a gap, as pandas writes it
        ("[1969]", ["1969"]),
    ],
)
def test_several_answers_in_one_cell(tmp_path: Path, cell: str, names: list[str]) -> None:
    table = tables.facts(write(tmp_path / "f.csv", f"question,answers\nWhat?,{cell}\n"))
    assert table["aliases"].tolist() == [names] and table["object"].tolist() == names[:1]


@pytest.mark.parametrize("name", ["answer", "answers", "object"])
@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("tin", ["tin"]),
        (1969, ["1969"]),
        (1969.0, ["1969"]),
        (0.5, ["0.5"]),
        ([" tin", "Sn"], ["tin", "Sn"]),
        ([1969, 7], ["1969", "7"]),
        ({"text": ["tin", "tin"], "answer_start": [3, 9]}, ["tin"]),
        ([{"text": "tin", "answer_start": 3}], ["tin"]),
        ({"value": "tin", "aliases": ["Sn"], "normalized_value": "tin"}, ["tin", "Sn"]),
        ({"Value": "tin", "Aliases": ["Sn", "tin"], "Type": "WikipediaEntity"}, ["tin", "Sn"]),
    ],
)
def test_answers_as_questions_sets_keep_them(tmp_path: Path, name: str, value: object, names: list[str]) -> None:
    row = {"question": "Which?", name: value}
    pd.DataFrame([row]).to_parquet(tmp_path / "f.parquet")
    for path in (tmp_path / "f.parquet", write(tmp_path / "f.jsonl", json.dumps(row) + "\n")):
        table = tables.facts(path)
        assert table["aliases"].tolist() == [names] and table["object"].tolist() == names[:1]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("ending", [".csv", ".CSV", ".tsv", ".jsonl", ".csv.gz", ".JSONL.gz"])
def test_encodings_and_line_ends(tmp_path: Path, encoding: str, newline: str, ending: str) -> None:
    mark = "\t" if "tsv" in ending else ","
    lines = [f"question{mark}answers", f"Où?{mark}Orléans|Œ", f"Кто?{mark}Ада"]
    if "json" in ending.lower():
        lines = ['{"question": "Où?", "answers": ["Orléans", "Œ"]}', '{"question": "Кто?", "answers": "Ада"}']
    content = (newline.join(lines) + newline).encode(encoding)
    path = tmp_path / f"f{ending}"
    path.write_bytes(gzip.compress(content) if ending.endswith(".gz") else content)
    table = tables.facts(path)
    assert table["question"].tolist() == ["Où?", "Кто?"]
    assert table["aliases"].tolist() == [["Orléans", "Œ"], ["Ада"]]


def test_other_ways_to_write_a_table(tmp_path: Path) -> None:
    listed = write(tmp_path / "f.json", json.dumps([{"question": "A?", "answer": "x"}], indent=1))
    spread = write(tmp_path / "f.csv", "question; answer\nA?;x\n")
    quoted = write(tmp_path / "g.csv", 'question,answer\n"A?","x"\r\n\r\n')
    for path in (listed, spread, quoted):
        table = tables.facts(path)
        assert table["question"].tolist() == ["A?"] and table["object"].tolist() == ["x"]


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
        (
            "f.csv",
            "question,answer,hits\na,b,3\n\na,d,4\n",
            "question 'a' stands there twice (first in line 2)",
        ),
        ("f.jsonl", '{"question": 5, "answer": "b", "hits": 1}', "line 1: column 'question' holds 5, no text"),
        (
            "f.jsonl",
            '{"question": "a", "answers": {"x": "b"}, "hits": 1}',
            "holds {'x': 'b'}, an object with x; write",
        ),
        ("f.jsonl", '{"question": "a", "answers": ["b", null], "hits": 1}', "a blank answer; write at least one text"),
        ("f.jsonl", '{"question": "a", "answers": [true], "hits": 1}', "an answer that is no text (True)"),
        ("f.jsonl", '{"question": "a", "answers": {"text": []}, "hits": 1}', "no answer; write at least one text"),
        ("f.jsonl", '{"question": "a", "answers": "\\u200b", "hits": 1}', "a blank answer; write at least one text"),
        ("f.jsonl", '{"question": "\\u200b", "answers": "b", "hits": 1}', "no text; write one"),
        (
            "f.csv",
            'question,answers,hits\na,"[""b"", ""c""",1\n',
            "a list or an object that cannot be read; write",
        ),
        ("f.csv", "question,answer,hits\na,b,1\n,b,1\nc,d,1\n ,b,1\n", "line 3: column 'question' holds '', no text; "),
        ("f.csv", "question,answer,hits\n,b,1\n ,b,1\n", "or delete the row (the same column: line 3)"),
        (
            "f.jsonl",
            '{"question": "a\\ud800", "answer": "b", "hits": 1}',
            "line 1: no JSON (a text holds half of a",
        ),
        ("f.jsonl", "[" * 100_000, "line 1: no JSON (it is nested too deeply)"),
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


def test_a_column_that_pandas_wrote_as_the_index_is_read(tmp_path: Path) -> None:
    table = pd.DataFrame({"question": ["What?", "Who?"], "answer": ["iron", "Ada"]})
    table.set_index("question").to_parquet(tmp_path / "named.parquet")
    table[table.index > 0].to_parquet(tmp_path / "filtered.parquet")
    assert tables.facts(tmp_path / "named.parquet")["question"].tolist() == ["What?", "Who?"]
    assert tables.facts(tmp_path / "filtered.parquet")["aliases"].to_dict() == {0: ["Ada"]}
