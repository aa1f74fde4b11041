"""Starting a script in N processes, and raising the reason of the one that ended them."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from sftlens.errors import PAUSED_STATUS, TrainingError, TrainingPaused
from sftlens.files import read_json
from sftlens.runtime.launch import slurm
from sftlens.runtime.launch.group import SILENT, Layout, Node, run

ERROR = "error.json"
"""What torch's launcher calls the message of a process."""
LAUNCHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""The variables in which a launcher tells a process which of how many it is."""


def be_alone() -> None:
    """Take a launcher's variables out of the environment of a program that starts its processes itself, and say so.

    Left over from another run they name processes that never come.
    """
    left = {name: value for name in LAUNCHER if (value := os.environ.pop(name, None)) is not None}
    if left.get("WORLD_SIZE", "1") != "1":
        shown = ", ".join(f"{name}={value}" for name, value in left.items())
        print(f"notice: a launcher's variables are ignored ({shown}); --processes says how many train", file=sys.stderr)


def start(script: Path, arguments: Sequence[str], layout: Layout, folder: Path) -> None:
    """Run `script` with `arguments` in all processes of a layout and wait for them.

    On one node it does what `torchrun --standalone` does; on several it starts what `torchrun --node-rank` does by
    `srun`, inside of a Slurm job. All end when one fails.

    Args:
        script: a Python program that does its work inside `worker`.
        arguments: its arguments.
        layout: how many processes, and where.
        folder: where the processes leave their messages; all nodes must see it.

    Raises:
        TrainingError: with the failing process' message.
        TrainingPaused: they stopped to be continued.
        LaunchError: several nodes without a Slurm job.
    """
    with TemporaryDirectory(dir=folder, prefix="launch-", ignore_cleanup_errors=True) as made:
        messages = Path(made)
        if layout.nodes == 1:
            status = run(script, arguments, layout.per_node, Node(), messages)
        else:
            status = slurm.run(script, arguments, layout, messages)
        if not status:
            return
        # The first failure that a process reported, or else a node, is the reason; or they stopped to be continued.
        paths = [sorted(messages.rglob(name), key=lambda path: path.stat().st_mtime_ns) for name in (ERROR, SILENT)]
        reported = [message for path in paths[0] + paths[1] if "status" in (message := read_json(path))]
    failed = [message for message in reported if message["status"] != PAUSED_STATUS]
    if failed:
        raise TrainingError(failed[0]["message"])
    if reported:
        raise TrainingPaused(reported[0]["message"])
    raise TrainingError(f"the processes of the training ended with status {status}; their messages stand above")
