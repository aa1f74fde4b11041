"""The facts: the published counts, the preparation's order of steps, samples, aliases, and refused input."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from entity_questions_files import data_set, file_of, items, put, zipped
from sftlens import entity_questions, facts, files
from sftlens.errors import DataError
from sftlens.relations import ID_RELATIONS, OOD_RELATIONS, RELATIONS
from sftlens.settings.facts import FactsSettings, Sample

REAL = os.environ.get("ENTITY_QUESTIONS_DIR")
ROOT = Path(__file__).parents[1]
needs_real = pytest.mark.skipif(not REAL, reason="real EntityQuestions not given: set ENTITY_QUESTIONS_DIR")


def settings(**values: Any) -> FactsSettings:
    return FactsSettings(source="entity_questions", **values)


def load(folder: Path, **values: Any) -> pd.DataFrame:
    return facts.load(settings(path=str(folder), **values))


def refusal(folder: Path, **values: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(folder, **values)
    return str(caught.value)


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
            for item in entity_questions.read(root, split, relation):
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


# Where the data set is


def test_files_that_no_split_needs_may_be_absent(folder: Path) -> None:
    expected = load(folder)
    for split in ("train", "dev"):
        for relation in OOD_RELATIONS:
            file_of(folder, split, relation).unlink()
    assert load(folder).equals(expected)


def test_one_folder_below(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outer").mkdir()
    nested = folder.rename(tmp_path / "outer" / "dataset")
    assert load(tmp_path / "outer").equals(load(nested))


@pytest.mark.parametrize("prefix", ["", "dataset/"])
def test_zip_equals_folder(folder: Path, tmp_path: Path, prefix: str) -> None:
    archive = zipped(folder, tmp_path / "dataset.zip", prefix)
    before = sorted(tmp_path.rglob("*"))
    assert load(archive).equals(load(folder))
    assert sorted(tmp_path.rglob("*")) == before, "nothing is extracted"
    assert facts.identity(settings(path=str(archive))) == facts.identity(settings(path=str(folder)))


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


def test_path_from_the_environment_and_from_a_world(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(facts.VARIABLE, str(folder))
    expected = facts.load(settings())
    assert facts.load(FactsSettings(), folder=folder).equals(expected)
    assert facts.load(settings(path="/nowhere"), folder=folder).equals(expected)


def test_no_path_names_key_and_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(facts.VARIABLE, raising=False)
    with pytest.raises(DataError, match=r"facts\.path.*ENTITY_QUESTIONS_DIR"):
        facts.load(settings())
    with pytest.raises(DataError, match=r"facts\.source.*entity_questions"):
        facts.load(FactsSettings())


def test_a_place_without_a_data_set_is_refused(tmp_path: Path) -> None:
    assert "facts.path" in refusal(tmp_path / "absent")
    assert "facts.path" in refusal(tmp_path)
    (tmp_path / "notes.txt").write_text("no zip")
    assert "not a readable zip" in refusal(tmp_path / "notes.txt")
    data_set(tmp_path / "a")
    data_set(tmp_path / "b")
    assert "several data sets" in refusal(tmp_path)


def test_truncated_zip_is_refused(folder: Path, tmp_path: Path) -> None:
    archive = zipped(folder, tmp_path / "dataset.zip")
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 2])
    assert "not a readable zip" in refusal(archive)


def test_damaged_zip_member_is_refused(folder: Path, tmp_path: Path) -> None:
    archive = zipped(folder, tmp_path / "dataset.zip")
    content = bytearray(archive.read_bytes())
    start = content.index(b"train/P17.train.json") + len("train/P17.train.json")
    content[start : start + 8] = b"\xff" * 8
    archive.write_bytes(content)
    assert "train/P17.train.json: cannot be read" in refusal(archive)


# Damaged files


def test_missing_file_is_named_with_the_number_of_others(folder: Path) -> None:
    for relation in ("P159", "P276"):
        file_of(folder, "train", relation).unlink()
    message = refusal(folder)
    assert "train/P159.train.json" in message and "1 other" in message and "facts.path" in message


@pytest.mark.parametrize("damage", [
    (lambda text: text[: len(text) // 2]),
    (lambda text: text.replace("{", "", 1)),
    (lambda text: ""),
    (lambda text: "[" * 200_000),
])  # fmt: skip
def test_damaged_json_is_refused_with_its_file(folder: Path, damage: Any) -> None:
    path = file_of(folder, "test", "P800")
    path.write_text(damage(path.read_text()))
    message = refusal(folder)
    assert message.startswith(f"{path}: not valid JSON (") and "fetch the data set again" in message


def test_truncated_json_names_its_position(folder: Path) -> None:
    path = file_of(folder, "test", "P800")
    path.write_text(path.read_text()[:90])
    assert "line 1 column" in refusal(folder)


def test_bytes_that_are_no_text_are_refused_with_their_position(folder: Path) -> None:
    file_of(folder, "dev", "P19").write_bytes(b'[{"question": "\xff"}]')
    assert "P19.dev.json: not valid JSON" in refusal(folder) and "position 15" in refusal(folder)


@pytest.mark.parametrize(("item", "word"), [
    ({"answers": ["x"]}, "'question'"),
    ({"question": "Where was A born?"}, "'answers'"),
    ({"question": 3, "answers": ["x"]}, "'question'"),
    ({"question": "Where was A born?", "answers": "x"}, "'answers'"),
    ({"question": "Where was A born?", "answers": ["x", 3]}, "'answers'"),
    ({"question": "Where was A born?", "answers": [""]}, "empty"),
    ({"question": "Where was A born?", "answers": [" "]}, "empty"),
    ({"question": "Where was A born?", "answers": ["\ud800"]}, "'answers'"),
    ({"question": "Where did A die?", "answers": ["x"]}, "Where was [X] born?"),
    ({"question": "Where was  born?", "answers": ["x"]}, "Where was [X] born?"),
    ({"question": "Where was born?", "answers": ["x"]}, "Where was [X] born?"),
    (["Where was A born?"], "a list"),
])  # fmt: skip
def test_item_of_another_shape_is_refused_with_its_place(folder: Path, item: Any, word: str) -> None:
    path = put(folder, "train", "P19", [*items("train", "P19", 2), item])
    message = refusal(folder)
    assert message.startswith(f"{path}: item 2") and word in message and "\n" not in message


def test_file_that_is_no_list_is_refused(folder: Path) -> None:
    put(folder, "train", "P19", {"question": "Where was A born?"})
    assert "an object instead of a list" in refusal(folder)


# Aliases


def aliases_file(folder: Path, text: str) -> str:
    path = folder / "aliases.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_aliases_follow_the_object_once(folder: Path) -> None:
    path = aliases_file(folder, "P17 object 1: [Other, P17 object 1, Other]\nElse: [x]\n")
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
    assert facts.accepted("South Korea", table) == ["South Korea", "Republic of Korea", "Korea"]
    assert facts.accepted("Oslo", table) == ["Oslo"]


# Relations


def test_relations_are_24_in_two_domains() -> None:
    assert len(ID_RELATIONS) == 10 and len(OOD_RELATIONS) == 14
    assert tuple(RELATIONS) == ID_RELATIONS + OOD_RELATIONS
    assert all(RELATIONS[relation].domain == "ood" for relation in OOD_RELATIONS)


@pytest.mark.parametrize("subject", ["Who?", "{subject}", "[X]", "A located in?", " padded ", "Ünï — ç"])
@pytest.mark.parametrize("relation", RELATIONS)
def test_any_subject_comes_back_from_its_question(relation: str, subject: str) -> None:
    assert facts.subject_of(relation, RELATIONS[relation].ask(subject)) == subject


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
    code = "import sys, sftlens.facts, sftlens.templates, sftlens.matching; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
