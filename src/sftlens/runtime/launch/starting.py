"""Starting a script in N processes, and raising the reason of the one that ended them."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sftlens.errors import PAUSED_STATUS, TrainingError, TrainingPaused
from sftlens.files import read_json
from sftlens.runtime.launch import slurm
from sftlens.runtime.launch.group import SILENT, Place, run
from sftlens.runtime.launch.layout import Layout


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
            status = run(script, arguments, layout.per_node, Place(), messages)
        else:
            status = slurm.run(script, arguments, layout, messages)
        if status:
            _raise(messages, status)


def _raise(messages: Path, status: int) -> None:
    """Raise the reason: the first failure that a process told, or a node; else that they stopped to be continued."""
    told = [*_read(messages, "error.json"), *_read(messages, SILENT)]
    failed = [message for message in told if message["status"] != PAUSED_STATUS]
    if failed:
        raise TrainingError(failed[0]["message"])
    if told:
        raise TrainingPaused(told[0]["message"])
    raise TrainingError(f"the processes of the training ended with status {status}; their messages stand above")


def _read(messages: Path, name: str) -> list[dict[str, Any]]:
    """Return the messages of one name, the oldest first."""
    found = [read_json(path) for path in sorted(messages.rglob(name), key=lambda path: path.stat().st_mtime_ns)]
    return [message for message in found if "status" in message]
