"""What runs leave behind goes, who waits says for whom, and what an earlier version finished is not done again."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from owner_files import by, owned
from sftlens import files
from sftlens.runtime import stages
from sftlens.runtime.stages import Stage


def compute(folder: Path) -> None:
    (folder / "table.txt").write_text("result")


def dead() -> int:
    """Return the id of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def kept_stage(tmp_path: Path) -> tuple[Stage, Path]:
    """Return a stage and the folder of its state."""
    stage = Stage("train", {"table.txt": tmp_path / "out" / "table.txt"}, {"version": 1}, tmp_path / "state")
    return stage, tmp_path / "state" / f"train-{stage.key}"


def test_finished_work_of_an_earlier_version_is_published(tmp_path: Path) -> None:
    """It recorded the size alone of large files; nothing is trained again for that."""
    stage, folder = kept_stage(tmp_path)
    stages.run(stage, compute)
    recorded = files.read_json(folder / "done.json")
    files.write_json(folder / "done.json", {name: said.split(" ")[0] for name, said in recorded.items()})
    assert stages.run(stage, compute) is False
    (folder / "done" / "table.txt").write_text("longer than that")
    assert stages.run(stage, compute) is True


def test_what_a_killed_run_by_hand_left_goes_at_the_next_start(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from sftlens.runtime.stages import Stage, run\n"
        "def die(folder): (folder / 'half').write_text('half'); os.kill(os.getpid(), 9)\n"
        "run(Stage('train', {'table.txt': Path(sys.argv[1])}), die)"
    )
    out = tmp_path / "out" / "table.txt"
    subprocess.run([sys.executable, "-c", code, str(out)])
    [left] = out.parent.iterdir()
    assert left.name.startswith(".train.work-") and (left / "half").exists()
    partial = left.name.replace(".train.work-", ".table.txt.partial-")
    (out.parent / partial).write_text("half")
    # One of an earlier version; those of a living process, another machine, and no process at all stay.
    (out.parent / f".train.work-{dead()}").mkdir()
    kept = [f".train.work-{os.getppid()}", f".train.work-0123abcd-{dead()}", ".train.work-abc"]
    for name in kept:
        (out.parent / name).mkdir()
    stages.run(Stage("train", {"table.txt": out}), compute)
    files.write_text(out, "result")
    assert {path.name for path in out.parent.iterdir()} == {"table.txt", *kept}


def test_who_waits_says_for_whom(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "POLL_SECONDS", 0.01)
    stage, folder = kept_stage(tmp_path)
    owner = owned(folder / "owner", by("elsewhere", 12))
    threading.Timer(0.3, owner.unlink).start()
    assert stages.run(stage, compute) is True
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith("train: waiting for process 12 on elsewhere, which computes the same")
