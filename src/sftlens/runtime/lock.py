"""One owner for a piece of unfinished work, also between machines that share a file system.

The idea. Two jobs may be given the same work: a Slurm job that was thought dead still runs, or a study is started
twice. One of them must do it, the others wait, and when it dies at any moment, one of the others must go on. File
locks are unreliable on cluster file systems; making a file with O_EXCL is not. So the owner is a file, made by whoever
comes first (`claim`). It names host, process and Slurm job, and holds a random token of the claim.

1. The owner touches the file every ten seconds while it works, and removes it at the end (`kept`).
2. Another claim fails while the file is there, unless the owner's process is gone from this machine. Who waits watches
   the file (`Owner`): it is stale when nobody touched it for two minutes, or for half a minute if its Slurm job is
   over. Minutes are those of the watcher's own monotonic clock, and only whether the file's time changes counts: a
   machine whose clock is wrong, or is set while it works, is neither waited for in vain nor robbed.
3. A stale file is renamed away, which one of several rivals achieves, and the next claim is made in its place
   (`Owner.retire`).
4. An owner may have been stopped for minutes and wake up after it was taken over. So it publishes only while the file
   still holds its own token (`holds`); otherwise it throws its result away and takes the other's.

Example. A claims the work and computes; its node hangs. B and C wait, and two minutes later both find that A's file
has not changed. B renames it away and claims; C finds nothing to rename, its claim fails, and it waits. A wakes up,
finishes, sees B's token, and waits like C. B ends and publishes; all three return its result.
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

from sftlens import processes
from sftlens.gate import parse_json

HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 120.0
ENDED_SECONDS = 30.0
"""How long an owner whose Slurm job is over must have been silent: it may live on where Slurm lost its node."""
RUNNING = "running,completing,suspended,stopped,signaling"


class Owner:
    """The owner of some work, as one who waits for it sees it."""

    def __init__(self, path: Path) -> None:
        """Watch the owner file `path` from now on."""
        self._path = path
        self._seen: tuple[int, str] | None = None
        self._changed = time.monotonic()
        self._token, self._ask = "", ENDED_SECONDS
        self.name = "another process"

    def stale(self) -> bool:
        """Whether the owner is dead: its process is gone, or it was silent too long since one watches."""
        try:
            found = self._path.stat().st_mtime_ns, self._path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return False
        owner = _parsed(found[1])
        if found != self._seen:
            self._seen, self._changed, self._token = found, time.monotonic(), str(owner.get("token"))
            self._ask = ENDED_SECONDS
            job = f", Slurm job {owner['job']}" if owner.get("job") else ""
            self.name = f"process {owner.get('pid', '?')} on {owner.get('host', 'an unknown machine')}{job}"
        if found[1] and not found[1].startswith("{"):
            return True  # what no claim can have written, nor begun to write, belongs to nobody
        pid = owner.get("pid")
        here = owner.get("host") == socket.gethostname() and owner.get("space", processes.space()) == processes.space()
        if here and isinstance(pid, int) and 0 < pid < 1 << 31 and not processes.alive(pid):
            return True
        if self.silent() > self._ask:
            self._ask = self.silent() + ENDED_SECONDS
            return _ended(str(owner.get("job", ""))) or self.silent() > STALE_SECONDS
        return self.silent() > STALE_SECONDS

    def silent(self) -> float:
        """Seconds, of this machine's monotonic clock, since the owner was last seen to touch its file."""
        return time.monotonic() - self._changed

    def retire(self) -> None:
        """Move the stale owner file away."""
        # A rename has one winner: of two processes that saw the same stale owner, one loses here.
        retired = self._path.with_name(f".{self._path.name}.{uuid4().hex}")
        try:
            self._path.rename(retired)
        except FileNotFoundError:
            return
        # It may already be the winner's new claim that was moved away: put it back.
        if str(_read(retired).get("token")) != self._token:
            with suppress(FileExistsError):
                os.link(retired, self._path)
        retired.unlink()


def claim(path: Path, owner: Owner | None = None) -> str | None:
    """Make the owner file `path` and return the token of this claim; a stale owner is taken over.

    Returns None when a living owner has it: `owner`, whom one may be watching since an earlier try.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    owner = owner or Owner(path)
    if owner.stale():
        owner.retire()
    token = uuid4().hex
    job = os.environ.get("SLURM_JOB_ID", "")
    said = {"host": socket.gethostname(), "space": processes.space(), "pid": os.getpid(), "job": job, "token": token}
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return None
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(said, file)
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
    return _parsed(path.read_text(encoding="utf-8", errors="replace"))


def _parsed(text: str) -> dict[str, Any]:
    """Return what an owner file says; nothing where it is still being written, or its writer died."""
    with suppress(ValueError):
        owner = parse_json(text)
        return owner if isinstance(owner, dict) else {}
    return {}


def _ended(job: str) -> bool:
    """Whether Slurm knows that a job does not run; False where Slurm does not answer."""
    if not job or not shutil.which("squeue"):
        return False
    queue = subprocess.run(
        ["squeue", "--noheader", "--jobs", job, "--states", RUNNING], capture_output=True, text=True, check=False
    )
    forgotten = "Invalid job id" in queue.stderr
    return forgotten or (queue.returncode == 0 and not queue.stdout.strip())
