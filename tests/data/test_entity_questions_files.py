"""The question files: where they are found, as a folder or a zip, and how damaged ones are refused."""

from pathlib import Path
from typing import Any

import pytest

from entity_questions_files import data_set, file_of, items, put, zipped
from facts_calls import load, refusal, settings
from sftlens.config.stages.data import FactsSettings
from sftlens.data import facts
from sftlens.data.relations import OOD_RELATIONS
from sftlens.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return data_set(tmp_path / "data")


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
