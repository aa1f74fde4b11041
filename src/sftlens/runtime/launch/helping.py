"""More processes of one program on this machine, which take work off it and may end at any time."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sftlens.runtime.launch.devices import VISIBLE, shares
from sftlens.runtime.launch.workers import STARTER

HELPER = "--helper"
"""The option by which a helper is told its number, from 1."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""The variables in which Snakemake tells a job, as a whole, how many CPUs it has."""


def share_threads(processes: int) -> None:
    """Let `processes` processes, this one and those it starts, use as many CPUs as it had; before torch is loaded."""
    for name in THREADS:
        if os.environ.get(name, "").isdigit():
            os.environ[name] = str(max(1, int(os.environ[name]) // processes))


@contextmanager
def helped(script: Path, arguments: Sequence[str], processes: int) -> Iterator[None]:
    """Run `script` in `processes` - 1 processes beside this one while the block runs; they share its GPUs evenly.

    What a helper does must be what this process would do too if it did not find it done: one that fails is no failure.
    To be called before torch is loaded. Helpers end with this process, however it ends, if they run inside of `worker`.

    Args:
        script: a Python program that does a helper's work when it gets the option HELPER.
        arguments: its other arguments.
        processes: how many processes there are, this one included.

    Raises:
        LaunchError: the GPUs cannot be shared evenly.
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
