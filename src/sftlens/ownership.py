"""One owner for a piece of unfinished work, also between machines that share a file system.

The owner is a file made with O_EXCL: file locks are unreliable on cluster file systems. Its owner touches it
while it works, so that a file that is no longer touched can be taken over.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 120.0


def claim(path: Path) -> bool:
    """Make the owner file `path`; False when a living owner has it. A stale owner is taken over."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if _is_stale(path):
        _retire(path)
    owner = {"host": socket.gethostname(), "pid": os.getpid(), "job": os.environ.get("SLURM_JOB_ID", "")}
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w") as file:
        json.dump(owner, file)
    return True


@contextmanager
def kept(path: Path) -> Iterator[None]:
    """Touch a claimed owner file while the block runs, and remove it afterwards."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(HEARTBEAT_SECONDS):
            try:
                os.utime(path)
            except FileNotFoundError:
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        path.unlink(missing_ok=True)


def _is_stale(path: Path) -> bool:
    try:
        age = time.time() - path.stat().st_mtime
        text = path.read_text()
    except FileNotFoundError:
        return False
    try:
        owner = json.loads(text)
    except json.JSONDecodeError:  # still being written, or its writer died: only its age tells
        owner = {}
    if owner.get("host") == socket.gethostname() and not _alive(int(owner.get("pid", 0))):
        return True
    return age > STALE_SECONDS


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
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
