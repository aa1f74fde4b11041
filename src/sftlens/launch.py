"""Starting a script in N processes on this node, and carrying a worker's error back to the starter."""

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from sftlens.errors import PAUSED_STATUS, SftlensError, TrainingError, TrainingPaused, explained

ERROR_FILE = "TORCHELASTIC_ERROR_FILE"
"""The variable in which torchrun names the file that takes a worker's error."""
STARTER = "SFTLENS_STARTER"
"""The variable that tells a worker the id of the process that started it."""
WATCH_SECONDS = 0.5


def start(script: Path, arguments: Sequence[str], processes: int) -> None:
    """Run `script` with `arguments` in `processes` processes and wait for all of them.

    Does what `torchrun --standalone --nproc-per-node N` does: a free port, a rank for each process, and the
    end of all when one fails or when this process dies. SIGTERM is passed on to them, and they get half a minute
    to end. Raises TrainingError with the failing worker's message, TrainingPaused when they stopped to be
    continued.
    """
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    try:
        # The workers' error files lie in the log folder, which torch would leave behind.
        with TemporaryDirectory() as folder, _quiet("torch.distributed.elastic"):
            config = LaunchConfig(
                min_nodes=1,
                max_nodes=1,
                nproc_per_node=processes,
                logs_specs=DefaultLogsSpecs(log_dir=folder),
                run_id=uuid4().hex,
                rdzv_backend="c10d",
                rdzv_endpoint="localhost:0",
                max_restarts=0,
            )
            os.environ[STARTER] = str(os.getpid())
            elastic_launch(config, sys.executable)("-u", str(script), *arguments)
    except ChildFailedError as error:
        paused = any(failure.exitcode == PAUSED_STATUS for failure in error.failures.values())
        raise (TrainingPaused if paused else TrainingError)(_message(error)) from None
    except SignalException as error:
        if error.sigval == signal.SIGTERM:
            raise TrainingPaused(
                "training was told to end (SIGTERM); run the same command again and it goes on from its last state"
            ) from None
        raise SystemExit(128 + int(error.sigval)) from None
    finally:
        os.environ.pop(STARTER, None)


@contextmanager
def worker() -> Iterator[None]:
    """Hand what the user can mend to the process that called `start`, and end this one quietly.

    Where that process dies, this one does, too: nobody else would end it.
    """
    if starter := os.environ.get(STARTER):
        threading.Thread(target=_follow, args=(int(starter),), daemon=True).start()
    try:
        yield
    except TrainingPaused as pause:
        _tell(str(pause))
        raise SystemExit(PAUSED_STATUS) from None
    except SftlensError as error:
        if not _tell(str(error)):
            raise
        raise SystemExit(1) from None
    except OSError as error:
        message = explained(error)
        if not message or not _tell(message):
            raise
        raise SystemExit(1) from None


def _follow(starter: int) -> None:
    while os.getppid() == starter:
        time.sleep(WATCH_SECONDS)
    os._exit(1)


def _tell(message: str) -> bool:
    """Write the message where `start` looks for it; False when nobody looks."""
    path = os.environ.get(ERROR_FILE)
    if path is not None:
        Path(path).write_text(json.dumps({"message": message, "timestamp": str(int(time.time()))}))
    return path is not None


def _message(error: object) -> str:
    failures = getattr(error, "failures", {})
    # Where a worker left no error file, torch puts a word in the place of its path.
    told = [failure for failure in failures.values() if os.path.isabs(failure.error_file)]
    if told:
        return str(min(told, key=lambda failure: (failure.timestamp, failure.local_rank)).message)
    rank, failure = error.get_first_failure()  # type: ignore[attr-defined]
    return (
        f"process {rank} of the training ended with status {failure.exitcode}; its own messages stand above. "
        "A negative status is a signal: -9 mostly means too little memory (lower micro_batch_size, raise "
        "zero_stage)"
    )


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keep a library's loggers silent: it reports the failures that `start` reports itself."""
    names = [logger for logger in logging.root.manager.loggerDict if logger.startswith(name)]
    loggers = [logging.getLogger(logger) for logger in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
