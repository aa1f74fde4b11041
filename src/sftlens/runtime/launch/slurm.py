"""A group of processes on several nodes of a Slurm job: one task on each node, which starts the node's processes.

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

from sftlens.errors import PAUSED_STATUS, LaunchError
from sftlens.runtime.launch.group import SILENT, TERMINATED, Layout
from sftlens.runtime.launch.workers import write_message

SOURCE = Path(__file__).resolve().parents[3]
TIME_LEFT = re.compile(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)")
"""How squeue writes a time: D-HH:MM:SS without what is zero in front."""


def run(script: Path, arguments: Sequence[str], layout: Layout, messages: Path) -> int:
    """Run `script` on all nodes of a layout and wait; return an exit status (see `group.run`).

    Raises LaunchError outside of a Slurm job. A node whose processes failed ends those of the others.
    """
    if "SLURM_JOB_ID" not in os.environ or not shutil.which("srun"):
        raise LaunchError(
            f"a training on {layout.nodes} nodes must run inside a Slurm job of so many nodes: use "
            "snakemake --profile slurm, or set launch.nodes: 1"
        )
    group = {
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
        [*srun, sys.executable, "-m", "sftlens.runtime.launch.node", json.dumps(group)],
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
