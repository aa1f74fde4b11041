"""GPUs of this machine, lent to one job at a time: for jobs side by side that no scheduler gives GPUs.

A job binds one socket for each GPU to an abstract name (unix(7)), which the kernel gives to one process of the machine
at a time, whoever's it is, and takes back when the process ends, however it ends. Unlike a lock file it lies in no
folder that another user could have prepared or may not write to, and unlike a lock on /dev/nvidia0 it knows the
names of parts of GPUs (MIG), too. Inside of a Slurm job the same GPU numbers mean other GPUs, so that its names are
its own.
"""

import errno
import os
import re
import socket
import time
from pathlib import Path

from sftlens.errors import LaunchError

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""The variable by which a process sees only some GPUs; where it is set already, only these are lent."""
NO_DEVICE = {"", "-1", "NoDevFiles"}
POLL_SECONDS = 0.2


def lease(count: int) -> list[socket.socket]:
    """Let this process, and those that it starts, see `count` GPUs that no other process has; 0 hides all of them.

    It waits until so many are free. To be called before CUDA is used: CUDA then knows no others. The result
    holds the GPUs; close its sockets, or end, to give them back. Raises LaunchError where the machine has fewer.
    """
    taken = _take(count) if count else {}
    os.environ[VISIBLE] = ",".join(taken)
    return list(taken.values())


def refuse_unseen(count: int) -> None:
    """Raise LaunchError where torch sees fewer GPUs than were lent: it would compute on the CPU without a word."""
    import torch

    if torch.cuda.device_count() < count:
        raise LaunchError(
            f"the job has {count} GPUs of this machine ({VISIBLE}={os.environ.get(VISIBLE)}), of which torch "
            f"{torch.__version__} sees {torch.cuda.device_count()}; install a build of torch for this driver, or set "
            f"launch.gpus_per_node of the model to 0 to compute on CPUs"
        )


def on_cpu(device: str | None, gpus: int | None) -> bool:
    """Whether a program computes on the CPU, by its options --device and --gpus; to be asked before `lease`."""
    if device not in (None, "auto") or gpus is not None:
        return device == "cpu" or gpus == 0
    import torch

    return not torch.cuda.is_available()


def shares(processes: int) -> list[str]:
    """Return for each of several processes which GPUs it may see, of those that this process sees; none for none.

    Raises LaunchError where they cannot be shared evenly.
    """
    devices = _devices()
    if len(devices) % processes:
        raise LaunchError(
            f"{len(devices)} GPUs cannot be shared evenly by {processes} processes; make the number of processes a "
            "divisor, or hide the GPUs (--gpus 0)"
        )
    each = len(devices) // processes
    return [",".join(devices[rank * each : (rank + 1) * each]) for rank in range(processes)]


def _take(count: int) -> dict[str, socket.socket]:
    devices = _devices()
    if len(devices) < count:
        raise LaunchError(
            f"the job needs {count} GPUs of this machine, which shows it {len(devices)}; lower "
            f"launch.gpus_per_node of the model (0: train on CPUs), or look at nvidia-smi and {VISIBLE}"
        )
    taken: dict[str, socket.socket] = {}
    # Only one job at a time collects GPUs, so that no two wait for each other's.
    while not (turn := _held("turn")):
        time.sleep(POLL_SECONDS)
    with turn:
        while len(taken) < count:
            for device in devices:
                if device not in taken and len(taken) < count and (lock := _held(device)):
                    taken[device] = lock
            if len(taken) < count:
                time.sleep(POLL_SECONDS)
    return taken


def _devices() -> list[str]:
    """Return the names by which CUDA knows the GPUs that this process may use."""
    if VISIBLE in os.environ:
        return [name for name in os.environ[VISIBLE].split(",") if name.strip() not in NO_DEVICE]
    nodes = [path for path in Path("/dev").glob("nvidia*") if re.fullmatch(r"nvidia\d+", path.name)]
    return [str(number) for number in range(len(nodes))]


def _held(name: str) -> socket.socket | None:
    """Return what holds a name of this machine, or of this Slurm job; None where another process holds it."""
    job = os.environ.get("SLURM_JOB_ID")
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        lock.bind(f"\0sftlens-gpu{f'-{job}' if job else ''}:{name.strip()}")
    except OSError as error:
        lock.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    return lock
