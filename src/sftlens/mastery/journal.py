"""An append-only file of records whose writer may be killed at any moment: each record has its length and checksum."""

import os
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

SYNC_SECONDS = 1.0
"""A killed process loses no record that it appended; a machine that fails loses those of about this time."""

_HEADER = struct.Struct("<II")


def read(path: Path) -> Iterator[bytes]:
    """Yield the records of a journal up to the first torn or damaged one."""
    with path.open("rb") as file:
        while len(header := file.read(_HEADER.size)) == _HEADER.size:
            length, checksum = _HEADER.unpack(header)
            record = file.read(length)
            # Some file systems leave zeros behind after a failure: they would pass for empty records.
            if not record or len(record) < length or zlib.crc32(record) != checksum:
                return
            yield record


@contextmanager
def writer(path: Path) -> Iterator[Callable[[bytes], None]]:
    """Make a new journal and yield the function that appends a record, which must not be empty.

    Nobody appends to a journal that another process began: behind a torn record nothing would be found again.
    """
    with path.open("xb") as file:
        synced = time.monotonic()

        def append(record: bytes) -> None:
            nonlocal synced
            file.write(_HEADER.pack(len(record), zlib.crc32(record)) + record)
            file.flush()
            if time.monotonic() - synced >= SYNC_SECONDS:
                os.fsync(file.fileno())
                synced = time.monotonic()

        yield append
