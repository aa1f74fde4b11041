"""GPUs of a machine are lent to one job at a time, and come back however the job ends (the GPUs are mere names)."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from sftlens.errors import LaunchError
from sftlens.runtime.launch import lease

JOB = """
import os, sys
from sftlens.runtime.launch import devices
if sys.argv[2] != "0":
    os.setuid(int(sys.argv[2]))
held = devices.lease(int(sys.argv[1]))
print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
sys.stdin.read()
"""
Start = Callable[..., subprocess.Popen[str]]
NAMES = [f"GPU-{os.getpid()}-{letter}" for letter in "abc"]
"""Known to this run of the tests alone: the names are the machine's."""


@pytest.fixture
def job() -> Iterator[Start]:
    """Return a starter of jobs that take so many of three GPUs and keep them until their input ends."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ",".join(NAMES)}
    environment.pop("SLURM_JOB_ID", None)
    started: list[subprocess.Popen[str]] = []

    def start(count: int, user: int = 0) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", JOB, str(count), str(user)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        started.append(subprocess.Popen(command, env=environment, text=True, **pipes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def got(process: subprocess.Popen[str]) -> set[str]:
    """Wait until a job has its GPUs, and return their names."""
    assert process.stdout
    return set(process.stdout.readline().strip().split(","))


def test_jobs_side_by_side_have_gpus_of_their_own(job: Start):
    first, second = got(job(1)), got(job(2))
    assert first | second == set(NAMES) and not first & second


def test_a_killed_job_gives_its_gpus_back(job: Start):
    first, second = job(2), job(1)
    theirs = got(first)
    waiting = job(2)
    got(second)
    os.kill(first.pid, signal.SIGKILL)
    assert got(waiting) == theirs


def test_jobs_that_wait_for_several_do_not_hold_one_another_up(job: Start):
    jobs = [job(2) for _ in range(4)]
    while jobs:
        readable, _, _ = select.select([process.stdout for process in jobs], [], [], 60)
        (ready,) = (process for process in jobs if process.stdout in readable)
        assert len(got(ready)) == 2
        ready.kill()
        jobs.remove(ready)


def test_none_asked_for_hides_all(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert lease(0) == []
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


def test_more_than_there_are_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(LaunchError, match=r"needs 4 GPUs .* shows it 2; lower launch\.gpus_per_node"):
        lease(4)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can act as two users")
def test_users_of_one_machine_have_gpus_of_their_own(job: Start):
    ours = got(job(2))
    assert got(job(1, user=65534)) == set(NAMES) - ours


def test_what_a_job_takes_a_slurm_job_does_not_wait_for(job: Start, monkeypatch: pytest.MonkeyPatch):
    """Inside of a Slurm job the same number is another GPU."""
    got(job(3))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", NAMES[0])
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    (held,) = lease(1)
    held.close()
