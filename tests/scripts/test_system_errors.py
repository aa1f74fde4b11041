"""Files, folders and links that are not what a program needs: one line, and nothing is touched."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from probe_tables import facts_table
from script_calls import ok, refused
from sftlens.files import write_parquet
from tiny import tiny_model


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, with braces in its name, of a model and a table of facts."""
    folder = tmp_path_factory.mktemp("inputs") / "a {b} {0}"
    tiny_model(folder / "model")
    write_parquet(folder / "facts.parquet", facts_table(subjects=1))
    return folder


def in_the_way(place: Path) -> None:
    place.write_text("mine")


def loop(place: Path) -> None:
    place.symlink_to(place.name)


def dangling(place: Path) -> None:
    place.symlink_to("/nonexistent/x")


def arguments(inputs: Path, **given: object) -> list[object]:
    values = {"model": inputs / "model", "facts": inputs / "facts.parquet", "max-new-tokens": 2, **given}
    return [word for name, value in values.items() for word in (f"--{name}", value)]


@pytest.mark.parametrize("option", ["out", "state"])
@pytest.mark.parametrize("make", [in_the_way, loop, dangling])
def test_what_is_no_folder_is_said_in_one_line(
    inputs: Path, tmp_path: Path, make: Callable[[Path], None], option: str
) -> None:
    make(tmp_path / "place")
    before = os.lstat(tmp_path / "place")
    message = refused("evaluate.py", *arguments(inputs, **{"out": tmp_path / "out", option: tmp_path / "place"}))
    assert str(tmp_path / "place") in message
    assert os.lstat(tmp_path / "place") == before or make is in_the_way
    assert make is not in_the_way or (tmp_path / "place").read_text() == "mine"


def test_names_that_are_too_long_are_said_in_one_short_line(inputs: Path, tmp_path: Path) -> None:
    for given in (
        {"out": tmp_path / ("y" * 300)},
        {"out": tmp_path / "out", "facts": tmp_path / ("x" * 300 + ".csv")},
        {"out": tmp_path / "out", "model": tmp_path / ("x" * 5000)},
        {"out": tmp_path / "out", "probing": "[" * 100_000},
    ):
        assert len(refused("evaluate.py", *arguments(inputs, **given))) < 3000


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("shots", -1, "'-1' is no whole number from 0 on"),
        ("shots", "9" * 5000, "is no whole number from 0 on"),
        ("device", "meta", "'meta' is no device that torch sees here"),
        ("gpus", "x", "'x' is no whole number from 0 on"),
    ],
)
def test_numbers_out_of_bounds_are_refused(
    inputs: Path, tmp_path: Path, option: str, value: object, words: str
) -> None:
    assert words in refused("evaluate.py", *arguments(inputs, out=tmp_path / "out", **{option: value}))
    assert not (tmp_path / "out").exists()


def test_training_needs_a_process(inputs: Path, tmp_path: Path) -> None:
    given = ["--model", inputs / "model", "--train", inputs / "facts.parquet", "--out", tmp_path / "out"]
    assert "there must be one of each at least" in refused("finetune.py", *given, "--processes", 0)
    assert "is no whole number from 0 on" in refused("finetune.py", *given, "--seed", -1)
    assert "learning-rate" in refused("finetune.py", *given, "--learning-rate", "inf")


def test_folders_in_the_places_of_records_are_said_in_one_line(inputs: Path, tmp_path: Path) -> None:
    given = arguments(inputs, out=tmp_path / "out", state=tmp_path / "state")
    ok("evaluate.py", *given)
    wanted = (tmp_path / "out" / "answers.parquet").read_bytes()
    [kept] = (tmp_path / "state").iterdir()
    (kept / "done.json").unlink()
    (kept / "done.json").mkdir()
    assert f"{kept}/done.json: Is a directory" in refused("evaluate.py", *given)
    (kept / "done.json").rmdir()
    (kept / "owner").mkdir()
    assert f"{kept}/owner: Is a directory" in refused("evaluate.py", *given)
    (kept / "owner").rmdir()
    (kept / "owner").write_text("[]")
    ok("evaluate.py", *given)
    assert (tmp_path / "out" / "answers.parquet").read_bytes() == wanted


def test_a_study_whose_configuration_cannot_be_read_says_so_before_snakemake_starts(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "bytes.yaml").write_bytes(b"study: x\n \x06y: [")
    loop(tmp_path / "loop.yaml")
    for name in ("folder.yaml", "bytes.yaml", "loop.yaml", "missing.yaml"):
        assert str(tmp_path / name) in refused("study.py", "-n", "--configfile", tmp_path / name)
