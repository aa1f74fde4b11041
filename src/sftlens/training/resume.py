"""The state of a half-done training run on disk: a killed run goes on from it and ends with the same bytes.

The idea. What the steps after step N depend on is, in each process: its part of the fp32 weights, of the optimiser's
two moments, and its random generators. The order of the examples follows from the seed, the learning rate from the
step. So a state is a folder `step-N` with one safetensors file for each process and the record `state.json`: step,
layout (processes, ZeRO stage, types), size of each file, and the report so far.

A run may be killed at any moment, also while it saves. So a state is complete or not there at all:

1. all processes write their files into `saving-N` (`States.save`);
2. behind a barrier, when every file is written, the first process adds the record and renames the folder to `step-N`,
   which happens at once or not at all;
3. the newest two states are kept, and while the next is written the newest one, so that there is always one to go
   back to.

Going on (`States.restore`), the first process looks for the newest state whose files have the recorded sizes and whose
layout is the run's own; others are named and removed. It tells the others its step, and each process reads its own
file.

Example. A run of 240 steps on two processes saves after steps 100 and 150 and is killed while it saves after 200: the
folder holds `step-150` and `saving-200`. Started again, it goes on behind step 150, and `saving-200` is cleared away
before the next save.
"""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sftlens import files
from sftlens.errors import DataError, TrainingError
from sftlens.models.safetensors_reader import open_file
from sftlens.models.safetensors_writer import TensorSpec, write_file
from sftlens.training.deepspeed_engine import Process

RECORD = "state.json"
STEP = re.compile(r"step-(\d+)")
KEPT = 2
MASTERS = ("single_partition_of_fp32_groups", "fp32_groups_flat_partition", "fp32_partitioned_groups_flat")
"""What DeepSpeed 0.19 calls a process' part of the fp32 weights: at stages 1 and 2, at stage 1 with fp32 gradients
(`data_types.grad_accum_dtype`), at stage 3."""


@dataclass(frozen=True)
class States:
    """The saved states of one training run."""

    folder: Path
    """Where they lie; only this run's."""
    process: Process
    """Who reads and writes."""
    layout: dict[str, Any]
    """What a state must have been made with to be of use: number of processes, ZeRO stage, type."""

    def save(self, engine: Any, step: int, report: dict[str, Any], best: Sequence[torch.Tensor] = ()) -> None:
        """Save the state after a step, with the report and the best weights so far; every process must call it.

        The newest two are kept. Raises OSError where the disk is full or read-only: the states that were
        there before stay.
        """
        partial = self.folder / f"saving-{step}"
        if self.process.rank == 0:
            # The newest state stays until this one is there; what a dead run left half-written goes.
            old = [self.folder / f"step-{step}" for step in self._steps()[KEPT - 1 :]]
            for path in [*old, *self.folder.glob("saving-*")]:
                shutil.rmtree(path)
            partial.mkdir(parents=True)
        torch.distributed.barrier()
        tensors = dict(_tensors(engine)) | {f"{number}.best": weights for number, weights in enumerate(best)}
        specs = [TensorSpec(name, tuple(t.shape), t.dtype) for name, t in tensors.items()]
        write_file(partial / self._part(), specs, tensors.values())
        torch.distributed.barrier()
        if self.process.rank == 0:
            sizes = {path.name: path.stat().st_size for path in sorted(partial.iterdir())}
            record = {"step": step, "layout": self.layout, "files": sizes, "report": report}
            files.write_json(partial / RECORD, record)
            os.replace(partial, self.folder / f"step-{step}")
        torch.distributed.barrier()

    def restore(self, engine: Any) -> tuple[int, dict[str, Any], list[torch.Tensor]]:
        """Bring an engine to the newest complete state; return its step, report and best weights, else (0, {}, []).

        Every process must call it.
        """
        step = torch.tensor(self._newest() if self.process.rank == 0 else 0, device=self.process.device)
        torch.distributed.broadcast(step, 0)
        if not int(step):
            return 0, {}, []
        state = self.folder / f"step-{int(step)}"
        best = _load(engine, state / self._part())
        return int(step), files.read_json(state / RECORD)["report"], best

    def bytes_of(self, engine: Any) -> int:
        """Return about how many bytes a process' part of a state has: weights and AdamW's two moments."""
        return sum(3 * master.nbytes for master in masters(engine))

    def _part(self) -> str:
        return f"rank-{self.process.rank}.safetensors"

    def _steps(self) -> list[int]:
        """Steps of the states that are there, newest first."""
        found = [STEP.fullmatch(path.name) for path in self.folder.iterdir()] if self.folder.is_dir() else []
        return sorted((int(match[1]) for match in found if match), reverse=True)

    def _newest(self) -> int:
        """Return the step of the newest state of use, 0 without one; those of no use are named and removed."""
        for step in self._steps():
            state = self.folder / f"step-{step}"
            try:
                record = files.read_json(state / RECORD)
            except DataError:
                fault = "without a record"
            else:
                sizes = {path.name: path.stat().st_size for path in state.iterdir() if path.name != RECORD}
                if sizes == record["files"] and record["layout"] == self.layout:
                    return step
                made = f"made with {record['layout']}, not {self.layout}"
                fault = made if sizes == record["files"] else "incomplete"
            print(f"{state}: {fault}, so it is not used", flush=True)
            shutil.rmtree(state)
        return 0


def masters(engine: Any) -> list[torch.Tensor]:
    """Return this process' part of the fp32 weights: what the optimiser updates.

    Raises TrainingError where DeepSpeed keeps them where sftlens does not look: a state without them would make a
    resumed run start again from the base model.
    """
    if engine.zero_optimization_stage() == 0:
        return list(engine.module.parameters())
    for name in MASTERS:
        if hasattr(engine.optimizer, name):
            return list(getattr(engine.optimizer, name))
    raise TrainingError(
        f"DeepSpeed's {type(engine.optimizer).__name__} keeps its fp32 weights where sftlens does not find them, so "
        "this training could not be resumed; install the DeepSpeed of pyproject.toml, or take options out of the file "
        "finetuning.deepspeed"
    )


def _moments(engine: Any) -> Any:
    """Return the optimiser's state by fp32 weight."""
    return getattr(engine.optimizer, "optimizer", engine.optimizer).state


def _tensors(engine: Any) -> Iterator[tuple[str, torch.Tensor]]:
    moments = _moments(engine)
    for number, master in enumerate(masters(engine)):
        yield f"{number}.weights", master
        for key, value in sorted(moments[master].items()):
            yield f"{number}.optimizer.{key}", value
    yield "random.cpu", torch.get_rng_state()
    if torch.cuda.is_available():
        yield "random.cuda", torch.cuda.get_rng_state()


def _load(engine: Any, path: Path) -> list[torch.Tensor]:
    """Bring the engine to a saved state; return the best weights that it holds."""
    saved = open_file(path)
    names = set(saved.keys())
    moments = _moments(engine)
    for number, master in enumerate(masters(engine)):
        weights = saved.get_tensor(f"{number}.weights")
        if weights.shape != master.shape:
            raise TrainingError(f"{path}: belongs to another model; remove its folder {path.parent}")
        master.data.copy_(weights)
        prefix = f"{number}.optimizer."
        moments[master] = {
            # Where the fused AdamW has them, the number of steps as well.
            name.removeprefix(prefix): saved.get_tensor(name).to(master.device)
            for name in names
            if name.startswith(prefix)
        }
    torch.set_rng_state(saved.get_tensor("random.cpu"))
    if "random.cuda" in names:
        torch.cuda.set_rng_state(saved.get_tensor("random.cuda"))
    refresh(engine)
    return [saved.get_tensor(f"{number}.best") for number in range(sum(name.endswith(".best") for name in names))]


def refresh(engine: Any) -> None:
    """Give the weights that compute the values of the fp32 weights, as DeepSpeed does at the end of a step."""
    zero, stage = engine.optimizer, engine.zero_optimization_stage()
    if stage in (1, 2):
        zero.update_lp_params()
    if stage == 3:
        zero.checkpoint_event_prologue()
        for group in range(len(masters(engine))):
            zero._reassign_or_swap_out_partitioned_parameters(group)
        zero.checkpoint_event_epilogue()
