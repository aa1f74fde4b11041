"""Fine-tuning in processes that kill themselves at a given point, as a machine that fails would."""

import os
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import process_groups
from sftlens import files
from sftlens.config.stages.training import FinetuneSettings
from sftlens.errors import TrainingPaused
from sftlens.inference.prompts import Sample
from sftlens.training import loop

FILE_EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}


@dataclass(frozen=True)
class Kill:
    """Where one process kills itself."""

    rank: int
    step: int
    """After so many steps of its own."""
    files: int = 0
    """And then at its so-manieth file opened, made, renamed or removed; 0: at once."""


@dataclass(frozen=True)
class Job:
    """One fine-tuning run."""

    model: Path
    samples: list[Sample]
    settings: FinetuneSettings
    out: Path
    resume: Path | None
    deadline: float | None = None


def run(job: Job, processes: int, kill: Kill | None = None, signal_number: int = signal.SIGKILL) -> list[int]:
    """Run a job in so many processes; return their exit codes. Where one is killed, the others end by themselves."""
    return process_groups.run(_train, processes, job, kill, signal_number)


def _train(rank: int, job: Job, kill: Kill | None, signal_number: int) -> None:
    made = []

    def progress(steps: int, **told: float) -> None:
        made.extend([True] * (steps == 1))
        if kill and kill.rank == rank and len(made) == kill.step:
            _die(kill.files, signal_number)

    resume = loop.Resume(job.resume, job.deadline) if job.resume else None
    try:
        told = job.out.with_suffix(".jsonl")
        report = loop.finetune(job.model, job.samples, job.settings, None, job.out, 5, progress, resume, told=told)
    except TrainingPaused:
        sys.exit(75)
    if rank == 0:
        files.write_json(job.out.with_suffix(".json"), asdict(report) | {"seconds": None})


def _die(at_file: int, signal_number: int) -> None:
    left = at_file

    def watch(event: str, _: object) -> None:
        nonlocal left
        if event in FILE_EVENTS:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal_number)

    if at_file:
        sys.addaudithook(watch)
    else:
        os.kill(os.getpid(), signal_number)
