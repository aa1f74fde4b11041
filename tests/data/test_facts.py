"""The facts: the published counts, the preparation's order of steps, samples, aliases, relations, the script."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from entity_questions_files import data_set, file_of, items, put
from facts_calls import load, refusal, settings
from repository import ROOT
from sftlens import files
from sftlens.config.stages.data import FactsSettings, Sample
from sftlens.data import entity_questions, facts
from sftlens.data.relations import ID_RELATIONS, OOD_RELATIONS, RELATIONS

REAL = os.environ.get("ENTITY_QUESTIONS_DIR")
needs_real = pytest.mark.skipif(not REAL, reason="real EntityQuestions not given: set ENTITY_QUESTIONS_DIR")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return data_set(tmp_path / "data")


# The published data


@needs_real
def test_real_counts_are_the_papers() -> None:
    start = time.process_time()
    table = facts.load(settings())
    assert table.groupby("split").size().to_dict() == {
        "train": 75_944, "dev": 9_580, "test": 9_555, "testood": 11_613,
    }  # fmt: skip
    assert table["fact_id"].is_unique
    assert not table.duplicated(["split", "question"]).any()
    assert time.process_time() - start < 20


@needs_real
def test_no_real_test_question_stands_in_the_train_files_when_these_are_removed() -> None:
    """138 questions stand in both published splits; two of them have several answers and were never kept."""
    files_of = {
        split: {
            item["question"]
            for relation in ID_RELATIONS
            for item in json.loads(file_of(Path(str(REAL)), split, relation).read_text(encoding="utf-8"))
        }
        for split in ("train", "test")
    }
    shared = files_of["train"] & files_of["test"]
    assert len(shared) == 138
    kept = facts.load(settings())
    left = facts.load(settings(remove_train_from_test=True))
    removed = kept[~kept["fact_id"].isin(left["fact_id"])]
    assert set(removed["split"]) == {"test"} and len(removed) == 136
    assert set(removed["question"]) <= shared
    assert shared.isdisjoint(left.loc[left["split"] == "test", "question"])


@needs_real
@pytest.mark.parametrize("relation", RELATIONS)
def test_subject_of_every_real_question_is_found(relation: str) -> None:
    with entity_questions.opened(Path(str(REAL))) as root:
        for split in ("train", "dev", "test"):
            for item in entity_questions.read(root, split, RELATIONS[relation]):
                assert RELATIONS[relation].ask(item.subject) == item.question


# Preparation


def test_rows_follow_split_relation_and_file(folder: Path) -> None:
    table = load(folder)
    assert list(table) == ["fact_id", "split", "relation", "subject", "object", "question", "aliases"]
    expected = [
        f"{split}/{relation}/{i:05d}"
        for split, relations in zip(
            ("train", "dev", "test", "testood"), (ID_RELATIONS,) * 3 + (OOD_RELATIONS,), strict=True
        )
        for relation in relations
        for i in range(3)
    ]
    assert list(table["fact_id"]) == expected
    first = table.iloc[0]
    assert (first["subject"], first["object"]) == ("train P17 0", "P17 object 0")
    assert first["question"] == "Which country is train P17 0 located in?"
    assert first["aliases"] == ["P17 object 0"]


def test_single_answers_are_kept_before_equal_questions_are_dropped(folder: Path) -> None:
    """A question with two answers in P131 must not hide the same question with one answer in P276."""
    ask = RELATIONS["P131"].ask
    put(folder, "train", "P131", [
        {"question": ask("Lake"), "answers": ["A", "B"]},
        {"question": ask("Hill"), "answers": ["first"]},
        {"question": ask("Hill"), "answers": ["again"]},
        {"question": ask("None"), "answers": []},
    ])  # fmt: skip
    put(folder, "train", "P276", [
        {"question": ask("Lake"), "answers": ["C"]},
        {"question": ask("Hill"), "answers": ["second"]},
    ])  # fmt: skip
    table = load(folder)
    rows = table[(table["split"] == "train") & table["relation"].isin(["P131", "P276"])]
    assert list(zip(rows["fact_id"], rows["object"], strict=True)) == [
        ("train/P131/00001", "first"), ("train/P276/00000", "C"),
    ]  # fmt: skip


def test_equal_questions_of_two_splits_stay(folder: Path) -> None:
    shared = items("train", "P19", 1)
    put(folder, "test", "P19", shared + items("test", "P19", 2))
    assert (load(folder)["question"] == shared[0]["question"]).sum() == 2
    removed = load(folder, remove_train_from_test=True)
    assert list(removed.loc[removed["question"] == shared[0]["question"], "split"]) == ["train"]


def test_sample_is_seeded_nested_and_in_file_order(tmp_path: Path) -> None:
    folder = data_set(tmp_path, count=40)

    def ids(size: int, seed: int = 0) -> list[str]:
        table = load(folder, sample=Sample(train=size, test=1, testood=2, seed=seed))
        counts = table.groupby(["split", "relation"]).size()
        assert set(counts["train"]) == {size} and set(counts["test"]) == {1}
        assert set(counts["testood"]) == {2} and set(counts["dev"]) == {40}
        return list(table.loc[table["split"] == "train", "fact_id"])

    assert ids(5) == ids(5) != ids(5, seed=1)
    assert set(ids(5)) < set(ids(20))
    by_relation = [[i for i in ids(20) if f"/{relation}/" in i] for relation in ID_RELATIONS]
    assert all(group == sorted(group) for group in by_relation)
    assert len({tuple(i.split("/")[2] for i in group) for group in by_relation}) > 1


def test_sample_larger_than_the_relation_keeps_all(folder: Path) -> None:
    assert load(folder, sample=Sample(train=99)).equals(load(folder))


def test_empty_files_are_valid(folder: Path) -> None:
    put(folder, "dev", "P17", [])
    assert "dev/P17/00000" not in set(load(folder)["fact_id"])
    for path in folder.rglob("*.json"):
        path.write_text("[]")
    assert load(folder).empty and list(load(folder)) == list(facts.COLUMNS)


def test_identity_follows_the_bytes_that_are_read(folder: Path) -> None:
    before = facts.identity(settings(path=str(folder)))
    put(folder, "train", "P26", [])
    assert facts.identity(settings(path=str(folder))) == before
    put(folder, "test", "P26", [])
    assert facts.identity(settings(path=str(folder))) != before
    none = facts.identity(settings(path=str(folder)))
    some = settings(path=str(folder), aliases=aliases_file(folder, "A: [b]"))
    assert (first := facts.identity(some)) != none
    aliases_file(folder, "# a comment\nA: [b]")
    assert facts.identity(some) == first


# Aliases


def aliases_file(folder: Path, text: str) -> str:
    path = folder / "aliases.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_aliases_follow_the_object_once(folder: Path) -> None:
    path = aliases_file(folder, "P17 object 1: [Other, P17 object 1, Other]\n")
    table = load(folder, aliases=path)
    assert table["aliases"].iloc[:2].tolist() == [["P17 object 0"], ["P17 object 1", "Other"]]


@pytest.mark.parametrize(("text", "word"), [
    ("- a\n- b\n", "mapping"),
    ("", "mapping"),
    ("Norway: [Norge\n", "line 2"),
    ("Norway: Norge\n", "'Norway'"),
    ("Norway: [No]\nOslo: [3, x]\n", "quotes"),
    ("Norway: ['']\n", "non-empty"),
    ("Norway:\n", "'Norway'"),
    ("No: [Norge]\n", "quotes"),
    ("Norway: [a]\nNorway: [b]\n", "repeated key 'Norway'"),
])  # fmt: skip
def test_malformed_aliases_are_refused(folder: Path, text: str, word: str) -> None:
    path = aliases_file(folder, text)
    message = refusal(folder, aliases=path)
    assert message.startswith(path) and word in message and "\n" not in message


def test_missing_aliases_file_is_refused(folder: Path) -> None:
    assert "nowhere.yaml: cannot be read" in refusal(folder, aliases="nowhere.yaml")


def test_shipped_aliases_load() -> None:
    table = facts.load_aliases(ROOT / "config" / "aliases.yaml")
    assert len(table) == 29
    assert facts.accepted(["South Korea"], table) == ["South Korea", "Republic of Korea", "Korea"]
    assert facts.accepted(["Oslo"], table) == ["Oslo"]


# Relations


def test_relations_are_24_in_two_domains() -> None:
    assert len(ID_RELATIONS) == 10 and len(OOD_RELATIONS) == 14
    assert tuple(RELATIONS) == ID_RELATIONS + OOD_RELATIONS
    assert all(RELATIONS[relation].domain == "ood" for relation in OOD_RELATIONS)


@pytest.mark.parametrize("subject", ["Who?", "{subject}", "[X]", "A located in?", " padded ", "Ünï — ç"])
@pytest.mark.parametrize("relation", RELATIONS)
def test_any_subject_comes_back_from_its_question(relation: str, subject: str) -> None:
    assert RELATIONS[relation].subject(RELATIONS[relation].ask(subject)) == subject


def test_files_of_another_relation_are_named_until_the_study_says_what_to_do(folder: Path) -> None:
    expected = load(folder)
    ask = "Which body of water is [X] next to?"
    for split in ("train", "dev", "test"):
        put(folder, split, "P206", [{"question": ask.replace("[X]", f"Town {split}"), "answers": ["Lake"]}])
    message = refusal(folder)
    assert "P206.train.json and 2 other files are of no relation of the study" in message
    assert "facts.relations (id: [...], ood: [..., P206]" in message and "\n" not in message
    assert load(folder, relations={"id": ID_RELATIONS, "ood": OOD_RELATIONS}).equals(expected)
    message = refusal(folder, relations={"id": ["P17", "P206"]})
    assert "nothing says what is asked about 'P206'" in message and "questions: {P206:" in message
    own = {"id": ["P206", "P26"], "ood": ["P17"], "questions": {"P206": ask}}
    table = load(folder, relations=own)
    assert table.groupby("split", sort=False)["relation"].unique().map(list).to_dict() == {
        "train": ["P206", "P26"], "dev": ["P206", "P26"], "test": ["P206", "P26"], "testood": ["P17"],
    }  # fmt: skip
    assert table.iloc[0].to_dict() | {"aliases": None} == {
        "fact_id": "train/P206/00000", "split": "train", "relation": "P206", "subject": "Town train",
        "object": "Lake", "question": ask.replace("[X]", "Town train"), "aliases": None,
    }  # fmt: skip
    file_of(folder, "test", "P206").unlink()
    assert "P206.test.json: this file of the data set is missing" in refusal(folder, relations=own)


def test_what_is_asked_about_a_relation_is_part_of_the_identity(folder: Path) -> None:
    found = [
        facts.identity(settings(path=str(folder), relations=choice))
        for choice in ({}, {"id": ["P17"]}, {"id": ["P17", "P19"]}, {"id": ["P17"], "ood": ["P19"]})
    ]
    assert len(set(found)) == 4


@pytest.mark.parametrize(("values", "words"), [
    ({"relations": {"id": ["P17"], "ood": ["P17"]}}, "'P17' stands there twice"),
    ({"relations": {"ood": ["P17"]}}, "no in-domain relation"),
    ({"relations": {"questions": {"P206": "Which water?"}}}, "must hold [X] once"),
    ({"source": "table"}, "needs `path`"),
    ({"source": "world", "relations": {"questions": {"P17": "Where is [X]?"}}}, "has questions of its own"),
])  # fmt: skip
def test_settings_that_contradict_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        FactsSettings.model_validate({"source": "entity_questions", **values})


# The script


def script(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "scripts" / "facts.py"), *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if name != facts.VARIABLE}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_script_writes_the_same_table(folder: Path, tmp_path: Path) -> None:
    path = aliases_file(tmp_path, "P17 object 1: [Other]\n")
    for option in ("--entity-questions", "--world"):
        out = tmp_path / f"{option}.parquet"
        done = script(option, folder, "--aliases", path, "--out", out)
        assert done.returncode == 0, done.stderr
        written = files.read_parquet(out)
        written["aliases"] = written["aliases"].map(list)
        pd.testing.assert_frame_equal(written, load(folder, aliases=path))


def test_script_says_what_is_wrong_in_one_line_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    file_of(folder, "train", "P17").write_text("[")
    for wrong in (["--entity-questions", folder], ["--world", folder, "--aliases", "nowhere.yaml"]):
        done = script(*wrong, "--out", tmp_path / "out" / "facts.parquet")
        assert done.returncode == 1 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not [path for path in tmp_path.rglob("*") if "facts" in path.name]


def test_loading_facts_imports_no_torch() -> None:
    code = "import sys; from sftlens.data import facts, scoring, relations; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
