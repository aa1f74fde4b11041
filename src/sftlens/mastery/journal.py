"""Journals: append-only files of finished work, whose writer may be killed at any moment."""

import os
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

SYNC_SECONDS = 1.0
"""A killed process loses no record that it appended; a machine that fails loses those of about this time."""

_RECORD = struct.Struct("<II")
"""Length and checksum in front of a record of a journal."""


def read_journal(path: Path) -> Iterator[bytes]:
    """Yield the records of a journal up to the first torn or damaged one.

    Each record has its length and checksum.
    """
    with path.open("rb") as file:
        while len(header := file.read(_RECORD.size)) == _RECORD.size:
            length, checksum = _RECORD.unpack(header)
            record = file.read(length)
            # Some file systems leave zeros behind after a failure: they would pass for empty records.
            if not record or len(record) < length or zlib.crc32(record) != checksum:
                return
            yield record


@contextmanager
def journal(path: Path) -> Iterator[Callable[[bytes], None]]:
    """Make a new journal and yield the function that appends a record, which must not be empty.

    Nobody appends to a journal that another process began: behind a torn record nothing would be found again.
    """
    with path.open("xb") as file:
        synced = time.monotonic()

        def append(record: bytes) -> None:
            nonlocal synced
            file.write(_RECORD.pack(len(record), zlib.crc32(record)) + record)
            file.flush()
            if time.monotonic() - synced >= SYNC_SECONDS:
                os.fsync(file.fileno())
                synced = time.monotonic()

        yield append
