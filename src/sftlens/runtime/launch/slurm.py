"""Starting a group of processes: on this node, or on several of a Slurm job, by one task on each that starts its own.

Of the job's variables only SLURM_JOB_ID is relied on; those of a task (SLURM_NODEID) are set by srun.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from sftlens.errors import PAUSED_STATUS, LaunchError, TrainingError, TrainingPaused
from sftlens.files import read_json
from sftlens.runtime.launch import group
from sftlens.runtime.launch.group import SILENT, TERMINATED, Layout
from sftlens.runtime.launch.workers import write_message

SOURCE = Path(__file__).resolve().parents[3]
TIME_LEFT = re.compile(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)")
"""How squeue writes a time: D-HH:MM:SS without what is zero in front."""
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
    `srun`, inside of a Slurm job. The script does its work inside `worker`; all processes end when one fails, and leave
    their messages in `folder`, which all nodes must see. Raises TrainingError with the message of the one that failed,
    TrainingPaused where they stopped to be continued, LaunchError for several nodes without a Slurm job.
    """
    with TemporaryDirectory(dir=folder, prefix="launch-", ignore_cleanup_errors=True) as made:
        messages = Path(made)
        if layout.nodes == 1:
            status = group.run(script, arguments, layout.per_node, group.Node(), messages)
        else:
            status = run(script, arguments, layout, messages)
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


def run(script: Path, arguments: Sequence[str], layout: Layout, messages: Path) -> int:
    """Run `script` on all nodes of a layout and wait; return an exit status (see `group.run`).

    Raises LaunchError outside of a Slurm job. A node whose processes failed ends those of the others.
    """
    if "SLURM_JOB_ID" not in os.environ or not shutil.which("srun"):
        raise LaunchError(
            f"a training on {layout.nodes} nodes must run inside a Slurm job of so many nodes: use "
            "snakemake --profile slurm, or set launch.nodes: 1"
        )
    described = {
        "script": str(script),
        "arguments": list(arguments),
        "processes": layout.per_node,
        "nodes": layout.nodes,
        "address": socket.gethostname(),
        "port": free_port(),
        "messages": str(messages),
    }
    srun = ["srun", f"--nodes={layout.nodes}", f"--ntasks={layout.nodes}", "--ntasks-per-node=1"]
    srun += [f"--cpus-per-task={layout.cpus}", *([f"--gres=gpu:{layout.gpus}"] if layout.gpus else [])]
    srun += ["--kill-on-bad-exit=1"]
    path = os.pathsep.join([str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [*srun, sys.executable, "-m", "sftlens.runtime.launch.node", json.dumps(described)],
        stdin=subprocess.DEVNULL,
        # Nodes leave one after another, and torch warns of that at length.
        env={"TORCH_CPP_LOG_LEVEL": "ERROR", **os.environ, "PYTHONPATH": path},
    )

    def pass_on(*_: object) -> None:
        # SIGTERM reaches the processes on all nodes, so that they save their state.
        write_message(messages / SILENT, TERMINATED, PAUSED_STATUS)
        process.terminate()

    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        return process.wait()
    finally:
        signal.signal(signal.SIGTERM, before)


def seconds_left() -> float | None:
    """Return how long the Slurm job has left that this process belongs to; None outside of one, or without a limit."""
    job = os.environ.get("SLURM_JOB_ID")
    if not job or not shutil.which("squeue"):
        return None
    command = ["squeue", "--noheader", "--jobs", job, "--format", "%L"]
    left = TIME_LEFT.fullmatch(subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip())
    if not left:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in left.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def free_port(address: str = "") -> int:
    """Return a port that is free on this machine at an address of it; another process gets another."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
