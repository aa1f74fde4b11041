"""Starting a training in several processes: all end when one dies, and what was begun is finished the next time."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from repository import ROOT
from tiny import tiny_model

SCRIPT = ROOT / "scripts" / "finetune.py"
STEPS = 60
OPTIONS = ["--batch-size", "1", "--checkpoint-steps", "3", "--zero-stage", "2", "--processes", "2"]


@pytest.fixture
def command(tmp_path):
    """Return the command of a training of many small steps, with a state, and more options."""
    tiny_model(tmp_path / "base")
    questions = [f"Where was Ada {i} Loren born?" for i in range(STEPS)]
    table = pd.DataFrame({"question": questions, "object": "Port Vale", "relation": "P19", "bucket": "D2"})
    table.to_parquet(tmp_path / "train.parquet")
    places = ["--model", "base", "--train", "train.parquet", "--state", "state", "--out", "out"]

    def make(*options: str) -> list[str]:
        return [sys.executable, str(SCRIPT), *places, *OPTIONS, *options]

    return make


def start(command: list[str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def states(folder: Path) -> list[Path]:
    return list(folder.glob("state/finetune-*/resume/step-*"))


def until(condition, seconds: float = 200) -> None:
    deadline = time.time() + seconds
    while not condition():
        assert time.time() < deadline
        time.sleep(0.3)


def workers(starter: int) -> list[int]:
    """Ids of the processes that were started by `starter`, as /proc tells."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[1] == str(starter) and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_training_that_loses_a_process_or_its_starter_ends_and_goes_on(command, tmp_path):
    lost = start(command(), tmp_path)
    until(lambda: states(tmp_path))
    first, *_ = members = workers(lost.pid)
    assert len(members) == 2
    os.kill(first, signal.SIGKILL)
    _, message = lost.communicate(timeout=100)
    assert lost.returncode == 1 and message.splitlines()[-1].startswith("error: process 0 "), message
    assert alive(members) == []

    orphaning = start(command(), tmp_path)
    until(lambda: len(workers(orphaning.pid)) == 2)
    members = workers(orphaning.pid)
    orphaning.kill()
    orphaning.wait()  # until then its process is there, and what it owned is waited for
    until(lambda: alive(members) == [])
    assert states(tmp_path) and not (tmp_path / "out").exists()

    told = start(command(), tmp_path)
    until(lambda: len(workers(told.pid)) == 2)
    before = {path.name for path in states(tmp_path)}
    until(lambda: {path.name for path in states(tmp_path)} - before)
    told.terminate()
    _, message = told.communicate(timeout=100)
    assert told.returncode == 75 and message.startswith("paused: "), message

    hurried = start(command("--time-limit-minutes", "0.1"), tmp_path)
    _, message = hurried.communicate(timeout=200)
    assert hurried.returncode == 75 and "paused: training stopped after step" in message, message
    step = int(message.partition("after step ")[2].partition(",")[0])
    assert [path for path in states(tmp_path) if path.name == f"step-{step}"]

    done = start(command(), tmp_path)
    _, message = done.communicate(timeout=300)
    assert done.returncode == 0 and not states(tmp_path), message
    assert len(json.loads((tmp_path / "out.json").read_text())["losses"]) == STEPS


def test_a_disk_that_is_full_is_named_in_one_line_and_leaves_nothing(command, tmp_path):
    # A limit on the size of files stands for it: the first training state is larger.
    full = subprocess.run(
        command("--checkpoint-steps", "1"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
    )
    assert full.returncode == 1, full.stderr
    last = full.stderr.splitlines()[-1]
    assert last.startswith("error: ") and "rank-" in last and "free space or choose another folder" in last
    assert not states(tmp_path) and not (tmp_path / "out").exists() and not (tmp_path / "out.json").exists()


def test_variables_left_over_from_a_launcher_name_nobody(command, tmp_path):
    """They would make one process wait for seven others that never come."""
    stale = {"RANK": "3", "LOCAL_RANK": "3", "WORLD_SIZE": "8", "MASTER_ADDR": "127.0.0.9", "MASTER_PORT": "29511"}
    alone = command("--processes", "1", "--batch-size", str(STEPS))
    done = subprocess.run(alone, cwd=tmp_path, env={**os.environ, **stale}, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "a launcher's variables are ignored (RANK=3, LOCAL_RANK=3, WORLD_SIZE=8," in done.stderr
    assert json.loads((tmp_path / "out.json").read_text())["examples"] == STEPS
