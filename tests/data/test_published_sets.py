"""Published question sets, each read from a small file in its published form."""

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sftlens.data.question_sets import published
from sftlens.errors import DataError
from sftlens.repair.user_files import read_facts

POP_QA = "\n".join("\t".join(cells) for cells in (
    ["id", "subj", "prop", "obj", "subj_id", "prop_id", "obj_id", "s_aliases", "o_aliases", "s_uri", "o_uri",
     "s_wiki_title", "o_wiki_title", "s_pop", "o_pop", "question", "possible_answers"],
    ["1", "Norway", "capital", "Oslo", "1", "2", "3", "[]", '"[""Christiania""]"', "u", "u", "Norway", "Oslo", "9", "9",
     "What is the capital of Norway?", '"[""Oslo"", ""Christiania""]"'],
    ["2", "John Moore", "occupation", "poet", "4", "5", "6", "[]", "[]", "u", "u", "J", "P", "1", "1",
     "What is John Moore's occupation?", '"[""poet""]"'],
    ["3", "John Moore", "occupation", "judge", "7", "5", "8", "[]", "[]", "u", "u", "J", "J", "1", "1",
     "What is John Moore's occupation?", '"[""judge""]"'],
))  # fmt: skip
TRIVIA = {
    "Aliases": ["Cuppa", "Tea"],
    "NormalizedAliases": ["tea"],
    "Type": "FreeForm",
    "Value": "Tea",
    "NormalizedValue": "tea",
}
SQUAD = {
    "version": "v2.0",
    "data": [{"title": "Oslo", "paragraphs": [{"context": "Oslo was Christiania.", "qas": [
        {"id": "1", "question": "What was Oslo called?", "is_impossible": False,
         "answers": [{"text": "Christiania", "answer_start": 9}, {"text": "Christiania", "answer_start": 9}]},
        {"id": "2", "question": "What is Oslo called in Norse?", "is_impossible": True, "answers": []},
    ]}]}],
}  # fmt: skip
BEAR = '{"sub_id":"Q20","sub_label":"Norway","sub_aliases":[],"obj_id":"Q585","obj_label":"Oslo","answer_idx":0}\n'
TEMPLATES = {"templates": ["The capital of [X] is [Y].", "[Y] is the capital of [X]."], "answer_space_labels": ["Oslo"]}


def facts(path: Path, content: Any) -> dict[str, list[str]]:
    """Write a file and return its questions with their accepted answers."""
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1), encoding="utf-8")
    table = read_facts(path)
    return dict(zip(table["question"], table["aliases"], strict=True))


def test_pop_qa(tmp_path: Path) -> None:
    found = facts(tmp_path / "test.tsv", POP_QA)
    assert found["What is the capital of Norway?"] == ["Oslo", "Christiania"]
    assert found["What is John Moore's occupation?"] == ["poet", "judge"]  # two people of one name
    table = read_facts(tmp_path / "test.tsv")
    assert table.loc[0, ["relation", "subject", "object"]].tolist() == ["capital", "Norway", "Oslo"]


def test_trivia_qa_as_published_and_as_rows(tmp_path: Path) -> None:
    item = {"Answer": TRIVIA, "Question": "What do the English drink?", "QuestionId": "tc_1", "QuestionSource": "u"}
    wanted = {"What do the English drink?": ["Tea", "Cuppa"]}
    assert facts(tmp_path / "web-dev.json", {"Data": [item], "Domain": "Web", "Version": 1.0}) == wanted
    row = {"question": item["Question"], "question_id": "tc_1", "entity_pages": {"title": []},
           "answer": {"aliases": ["Cuppa", "Tea"], "normalized_aliases": ["tea"], "value": "Tea"}}  # fmt: skip
    assert facts(tmp_path / "rows.jsonl", json.dumps(row)) == wanted
    pd.DataFrame([row]).to_parquet(tmp_path / "rows.parquet")
    assert read_facts(tmp_path / "rows.parquet")["aliases"].tolist() == [["Tea", "Cuppa"]]
    with pytest.raises(DataError, match="item 1 of Data: has no Question with an Answer"):
        facts(tmp_path / "test.json", {"Data": [{"Question": "Who?"}]})


def test_simple_qa(tmp_path: Path) -> None:
    text = "metadata,problem,answer\n\"{'topic': 'Art', 'urls': ['u']}\",In which year did Ada win?,1950\n"
    text += "{},Which film came first?,Ay | Bee\n"
    found = facts(tmp_path / "simple_qa_test_set.csv", text)
    assert found == {"In which year did Ada win?": ["1950"], "Which film came first?": ["Ay | Bee"]}


def test_squad_as_published_and_as_rows(tmp_path: Path) -> None:
    wanted = {"What was Oslo called?": ["Christiania"]}
    assert facts(tmp_path / "dev-v2.0.json", SQUAD) == wanted
    with gzip.open(tmp_path / "dev.json.gz", "wt") as file:
        file.write(json.dumps(SQUAD))
    assert read_facts(tmp_path / "dev.json.gz")["aliases"].tolist() == [["Christiania"]]
    answers = [{"text": ["Christiania", "Christiania"], "answer_start": [9, 9]}, {"text": [], "answer_start": []}]
    rows = [{"id": f"{i}", "title": "Oslo", "context": "...", "question": question, "answers": found}
            for i, (question, found) in enumerate(zip((*wanted, "In Norse?"), answers, strict=True))]  # fmt: skip
    assert facts(tmp_path / "dev.jsonl", "\n".join(map(json.dumps, rows))) == wanted
    pd.DataFrame(rows).to_parquet(tmp_path / "dev.parquet")
    pd.DataFrame(rows).to_csv(tmp_path / "dev.csv", index=False)
    for name in ("dev.parquet", "dev.csv"):
        table = read_facts(tmp_path / name)
        assert dict(zip(table["question"], table["aliases"], strict=True)) == wanted, name
    with pytest.raises(DataError, match="item 1 of data: is no article"):
        facts(tmp_path / "bad.json", {"data": [{"title": "Oslo"}]})


def test_bear(tmp_path: Path) -> None:
    (tmp_path / "P36.jsonl").write_text(BEAR)
    (tmp_path / "P17.jsonl").write_text(BEAR.replace("Oslo", "the Kingdom"))
    relations = {"P36": TEMPLATES, "P17": {"templates": ["[X] is [Y]."]}}
    (tmp_path / "metadata_relations.json").write_text(json.dumps(relations))
    table = read_facts(tmp_path)
    assert table["question"].tolist() == [
        "Fill in the blank: Norway is ___.",
        "Fill in the blank: The capital of Norway is ___.",
    ]
    assert table["aliases"].tolist() == [["the Kingdom", "Kingdom"], ["Oslo"]]
    assert table["relation"].tolist() == ["P17", "P36"] and set(table["subject"]) == {"Norway"}
    assert len(read_facts(tmp_path / "P36.jsonl")) == 1
    (tmp_path / "metadata_relations.json").write_text(json.dumps({"P36": TEMPLATES}))
    with pytest.raises(DataError, match="key 'P17' has no templates"):
        read_facts(tmp_path)


def test_a_table_of_ones_own_is_none_of_them(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("question,answers\nWho?,Ada|Bob\nWho?,Ada\n")
    assert published.read(tmp_path / "own.csv") is None
    with pytest.raises(DataError, match="stands there twice"):
        read_facts(tmp_path / "own.csv")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=r"folder without metadata_relations\.json"):
        read_facts(tmp_path / "folder")
    (tmp_path / "empty.jsonl").write_text(json.dumps({"question": "Q", "context": "", "answers": {"text": []}}))
    with pytest.raises(DataError, match="holds no question with an answer"):
        read_facts(tmp_path / "empty.jsonl")
