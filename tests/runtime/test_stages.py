"""A stage computes once for each key, publishes whole outputs only, and survives falls and damage."""

import os
import time
from pathlib import Path

import pytest

from sftlens.runtime import stages
from sftlens.runtime.stages import Stage

DEPENDS = {"inputs": {"facts": "abc"}, "settings": {"epochs": 1}, "version": 1}


class Work:
    """A computation that counts its calls and writes one file and one folder."""

    def __init__(self, text: str = "result") -> None:
        self.calls = 0
        self.text = text

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        (folder / "table.txt").write_text(self.text)
        (folder / "checkpoint" / "inner").mkdir(parents=True)
        (folder / "checkpoint" / "inner" / "weights.bin").write_text(self.text * 2)


@pytest.fixture
def outputs(tmp_path) -> dict[str, Path]:
    return {"table.txt": tmp_path / "out" / "table.txt", "checkpoint": tmp_path / "out" / "checkpoint"}


@pytest.fixture
def stage(tmp_path, outputs):
    """Return the stage with a changed key where keys are given."""

    def make(**depends: object) -> Stage:
        return Stage("train", outputs, {**DEPENDS, **depends}, tmp_path / "state")

    return make


def check(outputs: dict[str, Path], text: str = "result") -> None:
    """Assert that the outputs are whole and nothing else stands beside them."""
    assert outputs["table.txt"].read_text() == text
    assert (outputs["checkpoint"] / "inner" / "weights.bin").read_text() == text * 2
    assert {path.name for path in outputs["table.txt"].parent.iterdir()} == {"table.txt", "checkpoint"}


def folder_of(stage: Stage) -> Path:
    assert stage.state
    return stage.state / f"{stage.name}-{stage.key}"


def test_files_and_folders_are_published(stage, outputs):
    work = Work()
    assert stages.run(stage(), work) is True
    check(outputs)
    assert {path.name for path in folder_of(stage()).iterdir()} == {"done", "done.json"}


def test_finished_work_is_published_and_not_computed_again(stage, outputs):
    work = Work()
    stages.run(stage(), work)
    assert stages.run(stage(), work) is False
    outputs["table.txt"].unlink()
    (outputs["checkpoint"] / "inner" / "weights.bin").unlink()
    assert stages.run(stage(), work) is False
    check(outputs)
    assert work.calls == 1


def test_published_again_is_newer_than_before(stage, outputs):
    """Snakemake compares times: what is published again must not look older than the input that led to it."""
    stages.run(stage(), Work())
    for path in [outputs["table.txt"], outputs["checkpoint"]]:
        os.utime(path, (1, 1))
    before = time.time() - 1
    stages.run(stage(), Work())
    published = [outputs["table.txt"], outputs["checkpoint"], *outputs["checkpoint"].rglob("*")]
    assert all(path.stat().st_mtime >= before for path in published)


@pytest.mark.parametrize("change", [{"version": 2}, {"settings": {"epochs": 2}}, {"inputs": {"facts": "abd"}}])
def test_another_key_computes(stage, outputs, change):
    stages.run(stage(), Work())
    work = Work("another")
    assert stages.run(stage(**change), work) is True
    check(outputs, "another")
    # The first result is still there for who comes back to it.
    assert stages.run(stage(), work) is False
    check(outputs)


def test_key_does_not_follow_the_order_of_what_it_depends_on(stage):
    assert stage().key == Stage("train", {}, dict(reversed(DEPENDS.items()))).key


def test_editing_an_output_does_not_spoil_the_finished_work(stage, outputs):
    stages.run(stage(), Work())
    outputs["table.txt"].write_text("spoilt")
    (outputs["checkpoint"] / "inner" / "weights.bin").write_text("spoilt")
    stages.run(stage(), Work())
    check(outputs)


def test_large_files_share_their_bytes(stage, outputs, monkeypatch):
    monkeypatch.setattr(stages, "COPY_LIMIT_BYTES", 8)
    stages.run(stage(), Work())
    weights = outputs["checkpoint"] / "inner" / "weights.bin"
    assert weights.stat().st_nlink == 2
    assert outputs["table.txt"].stat().st_nlink == 1


def fail(folder: Path) -> None:
    (folder / "table.txt").write_text("half")
    raise RuntimeError("no")


@pytest.mark.parametrize("kept", [True, False])
def test_failure_leaves_nothing(stage, outputs, tmp_path, kept):
    failing = stage() if kept else Stage("train", outputs, DEPENDS)
    with pytest.raises(RuntimeError):
        stages.run(failing, fail)
    assert [path for path in tmp_path.rglob("*") if path.is_file() or path.name.startswith(("done", "work"))] == []
    assert stages.run(failing, Work()) is True
    check(outputs)


def test_failure_keeps_the_old_output(stage, outputs):
    stages.run(stage(), Work())
    with pytest.raises(RuntimeError):
        stages.run(stage(version=2), fail)
    check(outputs)


def test_without_state_nothing_is_kept(outputs, tmp_path):
    work = Work()
    stage = Stage("train", outputs, DEPENDS)
    assert stages.run(stage, work) is True
    assert stages.run(stage, work) is True
    check(outputs)
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


def truncate(folder: Path) -> None:
    (folder / "done" / "checkpoint" / "inner" / "weights.bin").write_text("r")


def flip(folder: Path) -> None:
    (folder / "done" / "table.txt").write_text("resulT")


def flip_large(folder: Path) -> None:
    path = folder / "done" / "checkpoint" / "inner" / "weights.bin"
    path.write_text(path.read_text().swapcase())


def lose(folder: Path) -> None:
    (folder / "done" / "table.txt").unlink()


def garble(folder: Path) -> None:
    (folder / "done.json").write_text('{"table.')


def forget(folder: Path) -> None:
    (folder / "done.json").unlink()


@pytest.mark.parametrize("damage", [truncate, flip, flip_large, lose, garble, forget])
def test_damaged_finished_work_is_computed_again(stage, outputs, monkeypatch, damage):
    monkeypatch.setattr(stages, "COPY_LIMIT_BYTES", 8)
    work = Work()
    stages.run(stage(), work)
    damage(folder_of(stage()))
    assert stages.run(stage(), work) is True
    check(outputs)
    assert work.calls == 2


def test_leavings_of_a_killed_computation_are_cleared(stage, outputs):
    leavings = folder_of(stage()) / "work-0123"
    leavings.mkdir(parents=True)
    (leavings / "table.txt").write_text("half")
    (leavings / "rest.txt").write_text("half")
    stages.run(stage(), Work())
    check(outputs)
    assert {path.name for path in folder_of(stage()).iterdir()} == {"done", "done.json"}
    assert not (folder_of(stage()) / "done" / "rest.txt").exists()
