"""One owner for a piece of unfinished work, also between machines that share a file system.

The idea. Two jobs may be given the same work: a Slurm job that was thought dead still runs, or a study is started
twice. One of them must do it, the others wait, and when it dies at any moment, one of the others must go on. File
locks are unreliable on cluster file systems; making a file with O_EXCL is not. So the owner is a file, made by whoever
comes first (`claim`). It names host, process and Slurm job, and holds a random token of the claim.

1. The owner touches the file every ten seconds while it works, and removes it at the end (`kept`).
2. Another claim fails while the file is there, unless it is stale: its process is gone (on the same host), its
   Slurm job is over and it was silent for half a minute, or it was silent for two minutes.
3. A stale file is renamed away, which one of several rivals achieves, and the next claim is made in its place
   (`_retire`).
4. An owner may have been stopped for minutes and wake up after it was taken over. So it publishes only while the file
   still holds its own token (`holds`); otherwise it throws its result away and takes the other's.

Example. A claims the work and computes; its node hangs. Two minutes later B and C find the file stale. B renames it
away and claims; C finds nothing to rename, its claim fails, and it waits. A wakes up, finishes, sees B's token, and
waits like C. B ends and publishes; all three return its result.
"""

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 120.0
ENDED_SECONDS = 30.0
"""How long an owner whose Slurm job is over must have been silent: it may live on where Slurm lost its node."""
RUNNING = "running,completing,suspended,stopped,signaling"


def claim(path: Path) -> str | None:
    """Make the owner file `path` and return the token of this claim; a stale owner is taken over.

    Returns None when a living owner has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if _is_stale(path):
        _retire(path)
    token = uuid4().hex
    job = os.environ.get("SLURM_JOB_ID", "")
    owner = {"host": socket.gethostname(), "pid": os.getpid(), "job": job, "token": token}
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return None
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(owner, file)
    except OSError as error:  # on a full disk: an empty claim would keep the next one waiting
        path.unlink(missing_ok=True)
        error.filename = str(path)
        raise
    return token


def holds(path: Path, token: str) -> bool:
    """Whether the owner file is still that of the claim `token`: one that stalled may have been taken over."""
    with suppress(FileNotFoundError):
        return _read(path).get("token") == token
    return False


@contextmanager
def kept(path: Path, token: str) -> Iterator[None]:
    """Touch the owner file of the claim `token` while the block runs, and remove it afterwards.

    The file of another owner, who took the claim over, is left alone.
    """
    stop = threading.Event()

    def beat() -> None:
        # It goes on when the file is gone: a claim moved away by mistake comes back (see `_retire`).
        while not stop.wait(HEARTBEAT_SECONDS):
            if holds(path, token):
                with suppress(FileNotFoundError):
                    os.utime(path)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        if holds(path, token):
            path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        owner: dict[str, Any] = json.loads(path.read_text())
    except json.JSONDecodeError:  # still being written, or its writer died
        return {}
    return owner


def _is_stale(path: Path) -> bool:
    try:
        age = time.time() - path.stat().st_mtime
        owner = _read(path)
    except FileNotFoundError:
        return False
    if owner.get("host") == socket.gethostname() and not _alive(int(owner.get("pid", 0))):
        return True
    return age > STALE_SECONDS or (age > ENDED_SECONDS and _ended(str(owner.get("job", ""))))


def _ended(job: str) -> bool:
    """Whether Slurm knows that a job does not run; False where Slurm does not answer."""
    if not job or not shutil.which("squeue"):
        return False
    queue = subprocess.run(
        ["squeue", "--noheader", "--jobs", job, "--states", RUNNING], capture_output=True, text=True, check=False
    )
    forgotten = "Invalid job id" in queue.stderr
    return forgotten or (queue.returncode == 0 and not queue.stdout.strip())


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:  # another user's process may not be signalled
        return not isinstance(error, ProcessLookupError)
    return True


def _retire(path: Path) -> None:
    # A rename has one winner: of two processes that saw the same stale owner, one loses here.
    retired = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        path.rename(retired)
    except FileNotFoundError:
        return
    # It may already be the winner's new claim that was moved away: put it back.
    if not _is_stale(retired):
        with suppress(FileExistsError):
            os.link(retired, path)
    retired.unlink()
