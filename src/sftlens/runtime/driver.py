"""Who drives the studies of a folder: so that a Snakemake that was killed need not be unlocked by hand.

Snakemake locks its folder with files that a killed driver leaves. Whoever drives a study here also holds a lock of the
system (flock(2)), which ends with its process, however it ends.
"""

import fcntl
import socket
from pathlib import Path
from typing import IO

PLACE = Path(".snakemake", "sftlens.driver")
LOCKS = Path(".snakemake", "locks")
"""Where Snakemake 9 keeps its lock files."""


def hold(folder: Path) -> IO[str] | None:
    """Say that this process drives the studies of a folder; that holds until the file is closed.

    Returns None where another one drives them, or where the file system has no such locks.
    """
    try:
        (folder / PLACE).parent.mkdir(exist_ok=True)
        file = (folder / PLACE).open("a+", encoding="utf-8")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.truncate(0)
        file.write(socket.gethostname())
        file.flush()
    except OSError:
        return None
    return file


def was_killed(folder: Path) -> bool:
    """Whether a driver left Snakemake's lock files behind that ran on this machine and is dead for certain.

    Of one that ran elsewhere that is not certain: some file systems keep such locks for each machine alone.
    """
    if not any((folder / LOCKS).glob("*")) or not (folder / PLACE).is_file():
        return False
    try:
        with (folder / PLACE).open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file.read() == socket.gethostname()
    except OSError:
        return False
