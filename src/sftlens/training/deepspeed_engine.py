"""Setting up DeepSpeed on 1..N processes, CPU or CUDA."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from sftlens.errors import TrainingError
from sftlens.runtime.launch.slurm import free_port

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True)
class Process:
    """One of the processes that train together."""

    rank: int
    """Its number among all processes; 0 writes the files."""
    world_size: int
    """How many processes there are."""
    device: torch.device
    """Where it computes."""


@contextmanager
def process_group(threads: int = 1) -> Iterator[Process]:
    """Join the process group that the environment describes; where it describes none, be the only process.

    Variables that are missing are set for the duration only, and a group made here is destroyed here. On a
    CPU so many numeric threads are used meanwhile: more than a process has CPUs are slower.
    """
    cuda = torch.cuda.is_available()
    before = torch.get_num_threads()
    with _environment(_missing_variables(cuda)), warnings.catch_warnings():
        # DeepSpeed calls collectives by names that PyTorch is about to retire.
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
        dist = _deepspeed(cuda).comm
        rank, local_rank = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
        device = torch.device("cuda", local_rank) if cuda else torch.device("cpu")
        if cuda:
            torch.cuda.set_device(device)
        else:
            torch.set_num_threads(threads)
        ours = not torch.distributed.is_initialized()
        dist.init_distributed("nccl" if cuda else "gloo", auto_mpi_discovery=False, verbose=False)
        try:
            yield Process(rank, int(os.environ["WORLD_SIZE"]), device)
        finally:
            if ours:
                dist.destroy_process_group()
            torch.set_num_threads(before)


def initialize(model: "PreTrainedModel", optimizer: torch.optim.Optimizer | None, config: dict[str, Any]) -> Any:
    """Return the DeepSpeed engine around a model, inside `process_group`; without an optimiser it only computes."""
    engine, *_ = _deepspeed(torch.cuda.is_available()).initialize(
        model=model, optimizer=optimizer, config=config, dist_init_required=False
    )
    return engine


def _deepspeed(cuda: bool) -> Any:
    # Named beforehand, else DeepSpeed looks for every accelerator it knows and warns that it found none.
    with _environment({} if cuda or "DS_ACCELERATOR" in os.environ else {"DS_ACCELERATOR": "cpu"}):
        import deepspeed
        import deepspeed.ops
    # An optional shared-memory collective that would be compiled for a minute at first use; not needed. Without a
    # setting for it, this leans on DeepSpeed's register of operations (a test in test_leanings.py fails when it moves).
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed


def _missing_variables(cuda: bool) -> dict[str, str]:
    """Return what a single process lacks. Raises TrainingError where a launcher set only a part."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    missing = [name for name in names if name not in os.environ]
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and missing:
        raise TrainingError(
            f"environment: WORLD_SIZE is {os.environ['WORLD_SIZE']} but {', '.join(missing)} is not set; "
            "start the processes with torchrun, or under srun set LOCAL_RANK=$SLURM_LOCALID and so on"
        )
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    values = {name: alone[name] for name in missing if name in alone}
    return values | ({"MASTER_PORT": str(free_port("127.0.0.1"))} if "MASTER_PORT" in missing else {})


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set variables that were not there, and take them away again."""
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            os.environ.pop(name, None)
