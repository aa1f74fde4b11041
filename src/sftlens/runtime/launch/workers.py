"""The processes that a program starts: each tells its starter why it ended, and ends with it; and helpers of one."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sftlens.errors import PAUSED_STATUS, SftlensError, TrainingPaused, explained
from sftlens.runtime.launch.devices import VISIBLE, shares

ERROR_FILE = "TORCHELASTIC_ERROR_FILE"
"""The variable in which torch's launcher names the file that takes a worker's error."""
STARTER = "SFTLENS_STARTER"
"""The variable that tells a worker the id of the process that started it."""
WATCH_SECONDS = 0.5
PARTNER_LOST = ("Connection closed by peer", "Connection reset by peer")
"""What gloo says in the processes that wait for one that has ended."""
HELPER = "--helper"
"""The option by which a helper is told its number, from 1."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""The variables in which Snakemake tells a job, as a whole, how many CPUs it has."""


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


def share_threads(processes: int) -> None:
    """Let `processes` processes, this one and those it starts, use as many CPUs as it had; before torch is loaded."""
    for name in THREADS:
        if os.environ.get(name, "").isdigit():
            os.environ[name] = str(max(1, int(os.environ[name]) // processes))


@contextmanager
def helped(script: Path, arguments: Sequence[str], processes: int) -> Iterator[None]:
    """Run `script` with HELPER in `processes` - 1 processes beside this one while the block runs; they share its GPUs.

    What a helper does must be what this process would do too if it did not find it done: one that fails is no failure.
    To be called before torch is loaded. Helpers end with this process, however it ends, if they run inside of `worker`.
    Raises LaunchError where the GPUs cannot be shared evenly.
    """
    mine, *theirs = shares(processes)
    share_threads(processes)
    helpers = []
    for number, share in enumerate(theirs, start=1):
        command = [sys.executable, str(script), *arguments, HELPER, str(number)]
        helpers.append(subprocess.Popen(command, env={**os.environ, VISIBLE: share, STARTER: str(os.getpid())}))
    os.environ[VISIBLE] = mine
    try:
        yield
        for number, helper in enumerate(helpers, start=1):
            if helper.poll():
                print(f"helper {number} ended with status {helper.returncode}; its work was done here", file=sys.stderr)
    finally:
        for helper in helpers:
            helper.terminate()
            helper.wait()
