"""The processes of one node, started by torch's launcher: what torchrun does."""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from sftlens.errors import PAUSED_STATUS, LaunchError
from sftlens.runtime.launch.workers import STARTER, write_message

SILENT = "silent.json"
"""Holds why a node's group ended where none of its processes reported a reason."""
TERMINATED = "training was told to end (SIGTERM); run the same command again and it goes on from its last state"
JOIN_SECONDS = 900
"""How long nodes wait for one another when a group starts."""


@dataclass(frozen=True)
class Layout:
    """The processes of one training run; every node has the same number of them."""

    processes: int = 1
    """Processes on all nodes together."""
    nodes: int = 1
    """Nodes of the cluster that they run on."""
    cpus: int = 1
    """CPUs of each node."""
    gpus: int = 0
    """GPUs of each node."""

    def __post_init__(self) -> None:
        """Raise LaunchError where there are none, or they cannot be shared out evenly."""
        if min(self.processes, self.nodes, self.cpus) < 1 or self.gpus < 0:
            raise LaunchError(
                f"{self.processes} processes on {self.nodes} nodes of {self.cpus} CPUs: there must be one of "
                "each at least; raise the number"
            )
        if self.processes % self.nodes:
            raise LaunchError(
                f"{self.processes} processes cannot be shared evenly by {self.nodes} nodes; "
                "make processes a multiple of nodes"
            )

    @property
    def per_node(self) -> int:
        return self.processes // self.nodes

    @property
    def threads(self) -> int:
        """Numeric threads of each process: the CPUs that it has; one where GPUs compute."""
        return 1 if self.gpus else max(1, self.cpus // self.per_node)


@dataclass(frozen=True)
class Node:
    """One node among those of a group."""

    nodes: int = 1
    rank: int = 0
    """Number of this node."""
    address: str = "localhost"
    """Host name of node 0."""
    port: int = 0
    """A port that is free there; with one node 0: any."""


def run(script: Path, arguments: Sequence[str], processes: int, node: Node, messages: Path) -> int:
    """Run `script` in `processes` processes of this node and wait for all of them; return an exit status.

    A rank for each process, and the end of all when one fails or when this process dies. SIGTERM is passed on to
    them, and they get half a minute to end. Why they ended is left in the folder `messages`.
    """
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    folder = messages / f"node-{node.rank}"
    folder.mkdir(parents=True, exist_ok=True)
    meeting: dict[str, Any] = {"rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0"}
    if node.nodes > 1:
        meeting = {"rdzv_backend": "static", "rdzv_endpoint": f"{node.address}:{node.port}"}
        meeting |= {"rdzv_configs": {"rank": node.rank, "timeout": JOIN_SECONDS}}
    config = LaunchConfig(
        min_nodes=node.nodes,
        max_nodes=node.nodes,
        nproc_per_node=processes,
        logs_specs=DefaultLogsSpecs(log_dir=str(folder)),
        run_id=uuid4().hex if node.nodes == 1 else str(node.port),
        max_restarts=0,
        **meeting,
    )
    os.environ[STARTER] = str(os.getpid())
    logging.disable()  # torch's launcher reports the failures that are reported here
    try:
        elastic_launch(config, sys.executable)("-u", str(script), *arguments)
    except ChildFailedError as error:
        # The others are ended as soon as the first one has stopped.
        paused = any(failure.exitcode == PAUSED_STATUS for failure in error.failures.values())
        status = PAUSED_STATUS if paused else 1
        rank, failure = error.get_first_failure()
        reason = (
            f"process {rank} of the training ended with status {failure.exitcode}; its own messages stand above. A "
            "negative status is a signal: -9 mostly means too little memory (lower micro_batch_size, raise zero_stage)"
        )
        write_message(folder / SILENT, reason, status)
        return status
    except SignalException as error:
        if error.sigval != signal.SIGTERM:
            raise SystemExit(128 + int(error.sigval)) from None
        write_message(folder / SILENT, TERMINATED, PAUSED_STATUS)
        return PAUSED_STATUS
    finally:
        logging.disable(logging.NOTSET)
        os.environ.pop(STARTER, None)
    return 0
