"""Who drives the studies of a folder: so that a Snakemake that was killed need not be unlocked by hand.

Snakemake locks its folder with files that a killed driver leaves. Whoever drives a study here also holds a lock of the
system (flock(2)), which ends with its process, however it ends.
"""

import atexit
import fcntl
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

PLACE = Path(".snakemake", "sftlens.driver")
LOCKS = Path(".snakemake", "locks")
"""Where Snakemake 9 keeps its lock files; with `--persistence-backend db` they are rows of a table."""
DATABASE = Path(".snakemake", "metadata.db")


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
    # A driver that ends by itself takes its name away, and with it, as Snakemake does, its locks.
    atexit.register(_leave, file)
    return file


def _leave(file: IO[str]) -> None:
    if not file.closed:
        file.truncate(0)


@contextmanager
def was_killed(folder: Path) -> Iterator[bool]:
    """Tell whether a driver left Snakemake's locks behind that ran on this machine and is dead for certain.

    Of one that ran elsewhere that is not certain: some file systems keep such locks for each machine alone. Within the
    block nobody else finds the same: of two that come together one takes the locks away, and not the other's new ones.
    """
    with ExitStack() as held:
        killed = any((folder / LOCKS).glob("*")) or (folder / DATABASE).is_file()
        try:
            file = held.enter_context((folder / PLACE).open(encoding="utf-8"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            killed = killed and file.read() == socket.gethostname()
        except OSError:  # of an earlier version, another user's, or held
            killed = False
        yield killed
