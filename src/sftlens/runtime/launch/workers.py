"""What every process of a group does: it tells its starter why it ended, and ends with it."""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sftlens.errors import PAUSED_STATUS, SftlensError, TrainingPaused, explained

ERROR_FILE = "TORCHELASTIC_ERROR_FILE"
"""The variable in which torch's launcher names the file that takes a worker's error."""
STARTER = "SFTLENS_STARTER"
"""The variable that tells a worker the id of the process that started it."""
WATCH_SECONDS = 0.5
PARTNER_LOST = ("Connection closed by peer", "Connection reset by peer")
"""What gloo says in the processes that wait for one that has ended."""


@contextmanager
def worker() -> Iterator[None]:
    """Hand what the user can mend to the process that called `start`, and end this one quietly.

    Where that process dies, this one does, too.
    """
    if starter := os.environ.get(STARTER):
        threading.Thread(target=_follow, args=(int(starter),), daemon=True).start()
    try:
        yield
    except TrainingPaused as pause:
        _tell(str(pause), PAUSED_STATUS)
        raise SystemExit(PAUSED_STATUS) from None
    except RuntimeError as error:
        if not any(words in str(error) for words in PARTNER_LOST):
            raise
        # Not the reason, only its echo: the process that failed tells why.
        print("another process of this training has ended, and so does this one", file=sys.stderr)
        raise SystemExit(1) from None
    except (SftlensError, OSError) as error:
        message = explained(error) if isinstance(error, OSError) else str(error)
        if not message or not _tell(message, 1):
            raise
        raise SystemExit(1) from None


def _follow(starter: int) -> None:
    while os.getppid() == starter:
        time.sleep(WATCH_SECONDS)
    os._exit(1)


def _tell(message: str, status: int) -> bool:
    """Write the message where the starter looks for it; False where there is no starter."""
    path = os.environ.get(ERROR_FILE)
    if path is not None:
        write_message(Path(path), message, status)
    return path is not None


def write_message(path: Path, message: str, status: int) -> None:
    """Write why a process ended, in the form that torch's launcher expects."""
    path.write_text(json.dumps({"message": message, "timestamp": str(int(time.time())), "status": status}))
