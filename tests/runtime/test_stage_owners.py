"""A stage has one owner: a twin waits for it, a dead or stalled one is taken over, and its half-done work goes on."""

import multiprocessing
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from test_stages import DEPENDS, Work, check, folder_of, outputs, stage, truncate

from owner_files import by, owned
from sftlens.runtime import lock, stages
from sftlens.runtime.stages import Stage

assert outputs and stage  # the fixtures


def _twin(name: str, root: Path) -> None:
    def compute(folder: Path) -> None:
        (root / f"{name}.computed").touch()
        # Only finish when the twin surely waits.
        while len(list(root.glob("*.started"))) < 2:
            time.sleep(0.02)
        time.sleep(0.3)
        (folder / "table.txt").write_text(f"by {name}")

    stage = Stage("train", {"table.txt": root / name / "table.txt"}, DEPENDS, root / "state")
    (root / f"{name}.started").touch()
    stages.run(stage, compute)


def test_twin_waits_and_publishes_the_result_of_the_first(tmp_path):
    context = multiprocessing.get_context("spawn")
    twins = [context.Process(target=_twin, args=(name, tmp_path)) for name in ("a", "b")]
    for twin in twins:
        twin.start()
    for twin in twins:
        twin.join(timeout=60)
    assert [twin.exitcode for twin in twins] == [0, 0]
    computed = [path.stem for path in tmp_path.glob("*.computed")]
    assert len(computed) == 1
    assert [(tmp_path / name / "table.txt").read_text() for name in ("a", "b")] == [f"by {computed[0]}"] * 2


def dead() -> int:
    """Return the id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_work_of_a_dead_owner_is_taken_over(stage, outputs):
    owned(folder_of(stage()) / "owner", by(socket.gethostname(), dead()))
    assert stages.run(stage(), Work()) is True
    check(outputs)
    assert not (folder_of(stage()) / "owner").exists()


@pytest.mark.parametrize("end", ["finishes", "fails", "finds its folder gone"])
def test_owner_that_was_taken_over_publishes_the_result_of_the_new_one(tmp_path, monkeypatch, end):
    monkeypatch.setattr(stages, "POLL_SECONDS", 0.02)
    first, second = (
        Stage("train", {"table.txt": tmp_path / n / "table.txt"}, DEPENDS, tmp_path / "state") for n in "ab"
    )
    folder = folder_of(first)
    stalled, taken, ended = (threading.Event() for _ in range(3))

    def compute(work: Path) -> None:
        monkeypatch.setattr(lock, "STALE_SECONDS", 0.2)
        stalled.set()
        taken.wait(10)
        ended.set()
        if end != "finds its folder gone":
            work.mkdir()
        (work / "table.txt").write_text("by the first")
        if end == "fails":
            raise RuntimeError("no")

    def take_over(work: Path) -> None:
        monkeypatch.setattr(lock, "STALE_SECONDS", 120.0)
        owner = (folder / "owner").read_text()
        taken.set()
        ended.wait(10)
        time.sleep(0.3)
        assert (folder / "owner").read_text() == owner
        assert sorted(folder.iterdir()) == sorted([folder / "owner", work])
        (work / "table.txt").write_text("by the second")

    with ThreadPoolExecutor() as threads:
        one = threads.submit(stages.run, first, compute)
        assert stalled.wait(10)
        assert stages.run(second, take_over) is True
        assert one.result(timeout=10) is False
    assert [(tmp_path / name / "table.txt").read_text() for name in "ab"] == ["by the second"] * 2
    assert {path.name for path in folder.iterdir()} == {"done", "done.json"}


def test_what_an_owner_leaves_to_resume_is_handed_on_until_the_work_is_done(stage, outputs):
    def die(work: Path) -> None:
        folder = stages.resume_folder(stage())
        assert folder
        (folder / "half").write_text("half")
        raise RuntimeError("no")

    def go_on(work: Path) -> None:
        folder = stages.resume_folder(stage())
        assert folder
        Work((folder / "half").read_text())(work)

    assert stages.finished(stage()) is None
    with pytest.raises(RuntimeError):
        stages.run(stage(), die)
    assert not any(stages.resume_folder(stage(version=2)).iterdir())
    assert stages.run(stage(), go_on) is True
    check(outputs, "half")
    assert stages.finished(stage()) == folder_of(stage()) / "done"
    assert {path.name for path in folder_of(stage()).iterdir()} == {"done", "done.json"}
    truncate(folder_of(stage()))
    assert stages.finished(stage()) is None
    assert stages.resume_folder(Stage("train", outputs, DEPENDS)) is None
