"""Writing a file behind what computes its content, and the disk behind what writes the file."""

import os
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

AHEAD = 4
"""Parts that wait to be written, at most; speed and memory only."""
STRIDE = 1 << 23
"""Bytes by which the disk is set to work; speed only."""


def write(target: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write `parts`, bytes, one after another to the new file `target`; a thread writes while the next are computed.

    A part must not change after it was given. Raises what `parts` raises, and OSError as writing does; the file is then
    left as far as it came.
    """
    with target.open("wb") as out, ThreadPoolExecutor(1) as writer:
        waiting: deque[Future[None]] = deque()
        for part in parts:
            waiting.append(writer.submit(_append, out, part))
            if len(waiting) > AHEAD:
                waiting.popleft().result()
        for written in waiting:
            written.result()


def _append(out: BinaryIO, part: bytes | memoryview) -> None:
    begin = out.tell()
    out.write(part)
    first, end = begin - begin % STRIDE, out.tell()
    # Else the system keeps it in memory until it is pressed. What is dirty it does not forget: it starts to write it to
    # the disk, and does not wait for it.
    if end - first >= STRIDE and hasattr(os, "posix_fadvise"):
        os.posix_fadvise(out.fileno(), first, end - first, os.POSIX_FADV_DONTNEED)
