"""Settings of where the jobs of a model run."""

from typing import Self

from pydantic import Field, model_validator

from sftlens.settings import Settings


class Launch(Settings):
    """Where the jobs of a model run: the nodes, GPUs and processes of its training; the rest follows from them."""

    nodes: int = Field(1, ge=1)
    """Nodes of one training run; more than one needs Slurm (`snakemake --profile slurm`)."""
    gpus_per_node: int = Field(0, ge=0)
    """GPUs of each of these nodes; 0: all jobs of the model run on CPUs."""
    processes: int | None = Field(None, ge=1)
    """Processes of each of these nodes (gloo on CPUs, NCCL on GPUs); unset: one for each GPU, or one."""
    cpus_per_process: int = Field(1, ge=1)
    """CPUs that a process asks Slurm for."""
    gpu_memory_gb: int = Field(80, ge=1)
    """Memory of one GPU: how many GPUs the jobs need that only measure a model."""
    longest_minutes: int = Field(1440, ge=30)
    """Most minutes that one try of training or probing asks for; it goes on in the next try (`--retries`)."""

    @model_validator(mode="after")
    def _one_process_a_gpu(self) -> Self:
        if self.gpus_per_node and self.processes not in (None, self.gpus_per_node):
            raise ValueError(
                f"processes {self.processes} and gpus_per_node {self.gpus_per_node} differ, but every process drives "
                "one GPU; take one of the two keys out"
            )
        return self

    @property
    def processes_per_node(self) -> int:
        """Processes of each node."""
        return self.processes or self.gpus_per_node or 1

    @property
    def world_size(self) -> int:
        """Processes of one training run."""
        return self.nodes * self.processes_per_node
