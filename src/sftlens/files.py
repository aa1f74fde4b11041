"""Reading and writing files so that a reader never sees half of one."""

import ctypes
import errno
import hashlib
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftlens import gate, processes
from sftlens.errors import MENDED, DataError, SftlensError

if TYPE_CHECKING:
    import pandas as pd

AT_FDCWD, RENAME_EXCHANGE = -100, 2
"""Of Linux' renameat2(2): paths as they stand, and what to do with them."""
REMEMBERED_BYTES = 16 << 20
"""Files from this size on are hashed once: their hash is remembered in the user's cache folder."""
SETTLED_SECONDS = 2.0
"""A file that changed so recently may change again within the resolution of its times: its hash is not remembered."""


def remove(path: Path) -> None:
    """Delete a file or a folder; nothing happens where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def replace(source: Path, target: Path) -> None:
    """Put `source` in the place of `target`, folder or file, in one step: a reader finds the old or the new one, whole.

    A folder that is there is exchanged with the new one. Where the file system cannot do that (NFS), it is missing
    for a moment, and a process killed just then leaves it beside its place, from where `atomic_path` brings it back.
    """
    if source.is_file() and target.is_dir():  # which would be deleted with all that is in it
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if not target.is_dir() or target.is_symlink():
        os.replace(source, target)
    elif exchange(source, target):
        remove(source)
    else:
        os.replace(target, _aside(target))
        os.replace(source, target)
        remove(_aside(target))


def exchange(first: Path, second: Path) -> bool:
    """Let two paths change places in one step (Linux' renameat2); return whether the file system can do that."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    if libc.renameat2(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE) == 0:
        return True
    if ctypes.get_errno() in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(second))


def _aside(path: Path) -> Path:
    """Where a folder waits until what replaces it is in its place."""
    return path.with_name(f".{path.name}.old")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let the error of a full disk, in the block, name what was to be written: that of a write itself names nothing."""
    try:
        yield
    except OSError as error:
        if error.errno in MENDED and error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def new_folder(path: Path) -> Iterator[None]:
    """Make a folder and those above it, as far as missing; where the block fails they go again, if they are empty."""
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):
            for folder in made:
                folder.rmdir()
        raise


def scratch(path: Path, what: str) -> Path:
    """Return the hidden sibling of `path` for unfinished work of this process; it does not exist.

    Those of processes of this machine that have died are deleted.
    """
    start, here = f".{path.name}.{what}-", _machine()
    for entry in path.parent.iterdir():
        machine, _, pid = entry.name.removeprefix(start).rpartition("-")
        # An earlier version named the process alone.
        if not (entry.name.startswith(start) and machine in ("", here) and pid.isdecimal()):
            continue
        if int(pid) == os.getpid() or not processes.alive(int(pid)):
            with suppress(OSError):  # another process is at it, too
                remove(entry)
    return path.with_name(f"{start}{here}-{os.getpid()}")


@cache
def _machine() -> str:
    """Return what stands for this machine, or this container, whose processes have numbers of their own."""
    return hashlib.sha256(f"{socket.gethostname()} {processes.space()}".encode()).hexdigest()[:8]


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` (to be made a file or a folder) that replaces it on success."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if _aside(path).exists():  # a process was killed while it replaced a folder
        remove(_aside(path)) if path.exists() else os.replace(_aside(path), path)
    partial = scratch(path, "partial")
    try:
        with naming(path):
            yield partial
        replace(partial, path)
    finally:
        remove(partial)


def make_readable(folder: Path) -> None:
    """Give every file of a folder the ordinary mode; safetensors writes 0600."""
    mask = os.umask(0)
    os.umask(mask)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o666 & ~mask)


def cache_folder(*parts: str) -> Path:
    """Return a path in the user's cache folder; what lies there can be made again from what it is named by."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "sftlens", *parts)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, keys in the order given, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, kind: Any = Any, error: type[SftlensError] = DataError, *, finite: bool = True) -> Any:
    """Return the JSON value of a file, of the type `kind` (`gate.shaped`; `finite` as in `gate.parse_json`).

    Raises DataError when it is missing or malformed, `error` when it holds something else.
    """
    if path.is_fifo():  # which nobody may ever write to
        raise error(f"{path}: is a named pipe, no file; put the file in its place")
    try:
        value = gate.parse_json(path.read_text(encoding="utf-8"), finite)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; make it first or correct the path") from None
    except ValueError as reason:  # no JSON, or no UTF-8
        raise DataError(
            f"{path}: not valid JSON ({reason}); it is truncated or damaged: fetch or make it again"
        ) from None
    return value if kind is Any else gate.shaped(value, kind, path, error)


def write_parquet(path: Path, table: "pd.DataFrame") -> None:
    """Write a table to Parquet atomically; equal tables give equal bytes."""
    with atomic_path(path) as partial:
        table.to_parquet(partial, index=False, compression="zstd")


def read_parquet(
    path: Path, columns: Sequence[str] | None = None, optional: Sequence[str] = (), *, rest: bool = False
) -> "pd.DataFrame":
    """Return columns of a Parquet table: `columns`, those of `optional` that are there, and nothing else is read.

    None, or `rest`: the others too. The columns stand in the file's order. Raises DataError when the file is missing
    or damaged, or lacks one of `columns`.
    """
    import pandas as pd

    there = parquet_columns(path)
    require_columns(path, there, columns or [])
    wanted = None if columns is None or rest else [name for name in there if name in (*columns, *optional)]
    with _damage_named(path):
        import pyarrow

        table = pd.read_parquet(path, columns=wanted)
        # A column that pandas wrote as the index of a table is a column like the others.
        named = [name for name in table.index.names if name in there]
        table = table.reset_index(named) if named else table
        table = table[[name for name in there if name in table]].reset_index(drop=True)
        for _, column in table.items():
            if column.dtype == "str":  # Arrow's text, which nothing decodes before it is used
                pyarrow.array(column.array).validate(full=True)
        return table


def parquet_columns(path: Path) -> list[str]:
    """Return the names of the columns of a Parquet table. Raises DataError when it is missing or damaged."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; make it first or correct the path")
    with _damage_named(path):
        from pyarrow import parquet

        names = list(map(str, parquet.read_schema(path).names))
        if (twice := gate.repeated(names)) is not None:
            raise ValueError(f"the column {twice!r} stands there twice")
        return names


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # pyarrow's own, and pandas' where what the file says about its index is damaged
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(
            f"{path}: not a readable Parquet file ({reason}); make it again, or give a CSV or JSON lines file with "
            "that ending"
        ) from None


def require_columns(path: Path, there: Sequence[str], columns: Sequence[str]) -> None:
    """Raise DataError, naming the file and what there is, unless a table has `columns`."""
    for name in columns:
        if name not in there:
            raise DataError(
                f"{path}: column {name!r} is missing (there are: {', '.join(map(str, there))}); add it, or give the "
                "file that the stage before this one wrote"
            )


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes. Raises DataError when there is no such file."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; make it first or correct the path")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def known_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, of a large one from the user's cache if it was hashed since it last changed.

    Its name there is device, inode, size and change time. Of these a program can set none, while `cp -p`, rsync and
    tar give a file the size and the modification time of the one that it replaces.
    """
    before = path.stat()
    if before.st_size < REMEMBERED_BYTES:
        return sha256(path)
    stamp = f"{before.st_dev:x}-{before.st_ino:x}-{before.st_size:x}-{before.st_ctime_ns:x}"
    remembered = cache_folder("sha256", stamp)
    with suppress(OSError, UnicodeDecodeError):
        if re.fullmatch("[0-9a-f]{64}", known := remembered.read_text(encoding="utf-8")):
            return known
    found = sha256(path)
    if path.stat().st_ctime_ns == before.st_ctime_ns and abs(time.time() - before.st_ctime) > SETTLED_SECONDS:
        with suppress(OSError):  # a home that is full or read-only
            write_text(remembered, found)
    return found


def table_sha256(table: "pd.DataFrame") -> str:
    """Return the SHA-256 of a table's column names and values, row by row as they stand, however a file keeps them."""
    values = {name: table[name].tolist() for name in table}
    text = json.dumps(values, ensure_ascii=False, default=lambda cell: cell.tolist())
    return hashlib.sha256(text.encode()).hexdigest()


def tree_sha256(folder: Path) -> str:
    """Return one SHA-256 for the names and bytes of all files below a folder."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{sha256(path)}\n".encode())
    return digest.hexdigest()
