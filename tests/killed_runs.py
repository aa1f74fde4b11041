"""Fine-tuning in processes that kill themselves at a given point, as a machine that fails would.

The processes are forked from a server that has imported everything: starting one costs milliseconds.
"""

import multiprocessing
import os
import signal
import socket
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from sftlens import deepspeed_engine, files, finetuning
from sftlens.errors import TrainingPaused
from sftlens.prompts import Sample
from sftlens.settings.finetuning import FinetuneSettings

# Imported here, in the server, once for all processes.
deepspeed_engine._deepspeed(cuda=False)
from transformers import LlamaForCausalLM  # noqa: E402, F401

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
    """Run a job in so many processes; return their exit codes (minus a signal's number, as subprocess does)."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["killed_runs"])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = [
        context.Process(target=_process, args=(job, rank, processes, port, kill, signal_number))
        for rank in range(processes)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(timeout=120)
    return [process.exitcode for process in started]


def _process(job: Job, rank: int, processes: int, port: int, kill: Kill | None, signal_number: int) -> None:
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - what a dying group prints
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(processes), OMP_NUM_THREADS="1")
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    made = []

    def progress(steps: int) -> None:
        made.extend([True] * (steps == 1))
        if kill and kill.rank == rank and len(made) == kill.step:
            _die(kill.files, signal_number)

    resume = finetuning.Resume(job.resume, job.deadline) if job.resume else None
    try:
        report = finetuning.finetune(job.model, job.samples, job.settings, None, job.out, 5, progress, resume)
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
