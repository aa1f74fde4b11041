"""How many processes train together, and where."""

from dataclasses import dataclass

from sftlens.errors import LaunchError


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
        """Raise LaunchError where the processes cannot be shared out evenly."""
        if self.processes % self.nodes:
            raise LaunchError(
                f"{self.processes} processes cannot be shared evenly by {self.nodes} nodes; "
                "make processes a multiple of nodes"
            )

    @property
    def per_node(self) -> int:
        """Processes on each node."""
        return self.processes // self.nodes
