"""One job of a study, and the forms of what it does and takes."""

from dataclasses import astuple, dataclass
from operator import add
from typing import NamedTuple


@dataclass(frozen=True)
class Job:
    """One job that `snakemake` plans for an empty results folder; the axes that do not apply are empty."""

    rule: str
    model: str = ""
    train_set: str = ""
    scale: str = ""
    criterion: str = ""
    experiment: str = ""
    """The first experiment that needs it, or what stands in the place of one (`planning.job_list`)."""
    strategy: str = ""
    """A training's, with its rate if it is one of a ladder (`kl@3e-05`); empty for full fine-tuning."""

    @property
    def trained(self) -> bool:
        """Whether it trains a model, or works on one that was trained."""
        return self.scale not in ("", "0")


@dataclass(frozen=True)
class Cost:
    """What jobs take together."""

    jobs: int = 0
    gpu_seconds: float = 0.0
    """Seconds of all GPUs that a job holds, idle or not."""
    cpu_seconds: float = 0.0
    """Seconds of the processes of jobs without a GPU."""
    read: float = 0.0
    """Bytes, from the file system; page caches left aside."""
    written: float = 0.0
    """Bytes."""

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*map(add, astuple(self), astuple(other)))


class Work(NamedTuple):
    """What one job does."""

    seconds: float = 0.0
    """Computing, besides starting, reading and writing."""
    read: float = 0.0
    """Bytes."""
    written: float = 0.0
    """Bytes."""
    shared: float = 0.0
    """Bytes that all nodes write at once, each its part."""
