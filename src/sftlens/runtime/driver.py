"""Who drives the studies of a folder: so that a Snakemake that was killed need not be unlocked by hand.

Snakemake locks its folder with files that a killed driver leaves. Whoever drives a study here also holds a lock of the
system (flock(2)), which ends with its process, however it ends; its file has the name of the machine for as long as
Snakemake's locks are this driver's. So a name that nobody holds is that of a driver that died with its locks:

    a driver is killed       name, locks       the next `sftlens study` takes the locks away
    another one is refused   name, locks       it leaves the name: the locks are still the dead one's
    a driver ends            no name           its locks went before
"""

import atexit
import fcntl
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
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
        if not locked(folder):  # else Snakemake refuses to run: the locks stay another driver's
            file.truncate(0)
            file.write(socket.gethostname())
            file.flush()
    except OSError:
        return None
    # A driver that ends by itself takes its name away, and before it, as Snakemake does, its locks.
    atexit.register(_leave, folder, file)
    return file


def _leave(folder: Path, file: IO[str]) -> None:
    if not file.closed and not locked(folder):
        file.truncate(0)


def locked(folder: Path) -> bool:
    """Whether Snakemake has locked a folder, by files or in its database."""
    if any((folder / LOCKS).glob("*")):
        return True
    place = f"{(folder / DATABASE).absolute().as_uri()}?mode=ro"
    with suppress(sqlite3.Error), closing(sqlite3.connect(place, uri=True)) as database:
        return database.execute("SELECT 1 FROM snakemake_locks LIMIT 1").fetchone() is not None
    return False  # no database, or one without that table


@contextmanager
def was_killed(folder: Path) -> Iterator[bool]:
    """Tell whether a driver left Snakemake's locks behind that ran on this machine and is dead for certain.

    Of one that ran elsewhere that is not certain: some file systems keep such locks for each machine alone. Within the
    block nobody else finds the same: of two that come together one takes the locks away, and not the other's new ones.
    """
    with ExitStack() as held:
        killed = locked(folder)
        try:
            file = held.enter_context((folder / PLACE).open(encoding="utf-8"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            killed = killed and file.read() == socket.gethostname()
        except OSError:  # of an earlier version, another user's, or held
            killed = False
        yield killed
