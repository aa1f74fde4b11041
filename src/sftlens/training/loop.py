"""Supervised fine-tuning on a DeepSpeed engine (paper section 3), loss on the answers only.

Every step minimises the sum of the losses of the supervised tokens of its global batch (negative log-likelihoods, nats,
unless a strategy says otherwise), divided by their number. It is the same loss for any number of processes and of
accumulation steps.
"""

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sftlens import strategies
from sftlens.config.stages.training import FinetuneSettings
from sftlens.errors import TrainingError, TrainingPaused
from sftlens.inference.prompts import Sample
from sftlens.models import checkpoints
from sftlens.runtime import events
from sftlens.strategies import Strategy
from sftlens.training import deepspeed_engine, export, reference
from sftlens.training.deepspeed_config import engine_config
from sftlens.training.deepspeed_engine import Process
from sftlens.training.during import Asked, Looks
from sftlens.training.early_stopping import BestWeights
from sftlens.training.resume import States, masters
from sftlens.training.step import Step, batches, micro_batch_plan, take_step
from sftlens.training.time_limit import Clock, termination_noted
from sftlens.training.zero3_loading import load_partitioned

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SAVING_BYTES_PER_SECOND = 100e6
"""Assumed speed of saving before a state was saved; low, so that there is time for the first one."""


@dataclass(frozen=True)
class Report:
    """What a fine-tuning run did; one entry per optimiser step in the lists."""

    examples: int
    """Samples of the training set."""
    losses: list[float] = field(default_factory=list)
    """Mean loss of the supervised tokens (the strategy's), nats, before the step."""
    learning_rates: list[float] = field(default_factory=list)
    """Learning rate of the step."""
    supervised_tokens: list[int] = field(default_factory=list)
    """Supervised tokens of the global batch."""
    gradient_norms: list[float] = field(default_factory=list)
    """Norm of the whole gradient before clipping; empty at ZeRO stage 0, which does not tell it."""
    dev_losses: list[tuple[int, float]] = field(default_factory=list)
    """Steps, and after each the mean loss of the answer tokens of the dev facts, nats; empty without early stopping."""
    during: list[dict[str, Any]] = field(default_factory=list)
    """What was answered at each look, a row a split and bucket: step, split, bucket, right, n."""
    stopped: dict[str, Any] | None = None
    """Where `stop_when_lost` ended the training: step, points_lost, facts, why."""
    seconds: float = 0.0
    """Wall time of the loop, without loading and writing."""


@dataclass(frozen=True)
class Resume:
    """Where a run keeps its state, and when its time is over."""

    folder: Path
    """Its states: of this run only, the same one when it is started again."""
    deadline: float | None = None
    """When the job ends, seconds since the epoch; shortly before, the run saves its state and stops."""


class Saving:
    """Saves the state of a run when it is time, and brings it back; without `resume` it does nothing."""

    def __init__(self, engine: Any, settings: FinetuneSettings, process: Process, resume: Resume | None) -> None:
        self._engine = engine
        layout = {"processes": process.world_size, "zero_stage": settings.zero_stage, "dtype": settings.dtype}
        self._states = States(resume.folder, process, layout) if resume else None
        deadline = resume.deadline if resume else None
        self.clock = Clock(settings.checkpoint_minutes, settings.checkpoint_steps, deadline, settings.notice_seconds)
        self._first = process.rank == 0

    def restored(self, report: Report, best: BestWeights) -> tuple[int, Report]:
        """Bring the engine to the newest state; return how many steps were made, and the report of these."""
        step, found, kept = self._states.restore(self._engine) if self._states else (0, {}, [])
        best.kept = kept
        if self._states:
            self.clock.saved(self._states.bytes_of(self._engine) / SAVING_BYTES_PER_SECOND, guessed=True)
        return (step, Report(**found)) if step else (0, report)

    def wishes(self) -> tuple[bool, bool]:
        """Whether (to save, to stop) after the step that comes now."""
        return self.clock.step() if self._states else (False, False)

    def act(self, number: int, step: Step, report: Report, best: BestWeights) -> None:
        """Save, and stop with TrainingPaused, if any process wanted it."""
        if not self._states or not step.save:
            return
        if step.stop and self._first and (lost := self.clock.terminated.is_set() and self.clock.at_stake()):
            print(lost, flush=True)
        start = time.time()
        self._states.save(self._engine, number, asdict(report), best.kept)
        self.clock.saved(time.time() - start)
        if step.stop:
            raise TrainingPaused(
                f"training stopped after step {number}, before its job's time was over; run the same command "
                "again and it goes on from there"
            )


def finetune(
    model_path: Path,
    samples: Sequence[Sample],
    settings: FinetuneSettings,
    tokenizer: "PreTrainedTokenizerBase | None",
    out_folder: Path,
    seed: int,
    progress: Callable[..., object] = lambda steps, **values: None,
    resume: Resume | None = None,
    strategy: Strategy | None = None,
    dev: Sequence[Sample] = (),
    told: Path | None = None,
    asked: Asked | None = None,
    compute: str | None = None,
    threads: int = 1,
) -> Report:
    """Fine-tune a model and write it, with its tokenizer, as a Hugging Face folder of `settings.dtype`.

    Called by every process of the group that the environment describes (see `sftlens.runtime.launch`), or by one
    process alone. With `resume` it goes on from the newest state that lies there, and ends with the same
    bytes as if it had never stopped.

    Args:
        model_path: Hugging Face folder or base.json pointer.
        samples: the training set, in the order of `training_sets.take`; `seed` is of the training order.
        settings: the recipe.
        tokenizer: saved beside the weights.
        out_folder: written by rank 0, atomically, only when training succeeded.
        progress: called with the number of finished steps, and with the loss and the learning rate by name.
        resume: where to keep a state; None: keep none.
        strategy: what is trained and how; None: all parameters. Its `rows` are the caller's business.
        dev: what early stopping looks at, where the recipe has it.
        told: file that the first process writes each step to as it is made (`sftlens.runtime.events`).
        asked: questions that the model is asked meanwhile, by `tokenizer`; they change nothing but where it stops.
        compute: type in which it computes, and keeps the weights until they are written; None: `settings.dtype`.
        threads: numeric threads of each process on a CPU. Sums may be rounded in another way by another number.

    Raises:
        TrainingError: no samples, a sample without a supervised token or longer than the model's positions,
            or a loss, gradient or weight becomes NaN or Inf.
        TrainingPaused: the deadline came near, or SIGTERM came; the state was saved.
        ModelError: the model cannot be loaded.
        DataError: a prompt of `asked` does not fit the model's context.
        ConfigError: the file of DeepSpeed options cannot be used, or the strategy's settings contradict the recipe.
    """
    strategy = strategy or strategies.make(strategies.DEFAULT)
    strategy.check(settings)
    settings = strategy.recipe(settings)
    _check_samples(samples, model_path)
    if settings.early_stopping:
        _check_samples(dev, model_path, "table of dev facts")
    written = deepspeed_engine.DTYPES[settings.dtype]
    settings = settings.model_copy(update={"dtype": compute or settings.dtype})
    plan = batches(len(samples), settings, seed, [sample.phase for sample in samples])
    with deepspeed_engine.process_group(threads) as process:
        compared: dict[int, torch.Tensor] = {}
        if strategy.compared == "pilot":
            pilot = strategy.given["pilot"]
            compared = reference.logits_of_pilot(pilot, model_path, samples, plan, settings, process)
        engine = _engine(model_path, settings, process, strategy, tokenizer, written)
        if strategy.compared == "base":  # the model itself, before training; before its state is brought back, too
            compared = reference.logits(engine, samples, plan, settings, process)
        saving, best = Saving(engine, settings, process, resume), BestWeights(engine, dev, settings, process)
        looks = Looks(engine, asked, tokenizer, process)
        first = told if process.rank == 0 else None
        with termination_noted(saving.clock) if resume else nullcontext(), events.Events(first) as file:
            done, report = saving.restored(Report(examples=len(samples)), best)
            progress(done)
            file.begin(events.of(vars(report)))
            start = time.perf_counter() - report.seconds
            engine.train()
            if not done:
                looks.look(0, len(plan), report.during)
                for event in events.of_looks(vars(report), 0):
                    file.add(event)
            for number, batch in enumerate(plan[done:], start=done + 1):
                chosen = [samples[i] for i in batch]
                wishes = saving.wishes()
                mine = [compared[i] for i in batch[process.rank :: process.world_size]] if compared else []
                step = take_step(engine, chosen, number, len(plan), settings, process, wishes, strategy, mine)
                report.losses.append(step.loss)
                report.learning_rates.append(step.learning_rate)
                report.supervised_tokens.append(step.supervised_tokens)
                if step.gradient_norm is not None:
                    report.gradient_norms.append(step.gradient_norm)
                progress(1, loss=step.loss, lr=step.learning_rate)
                file.add(events.of_step(vars(report), number))
                stop = best.look(number, len(plan), report.dev_losses)
                if lost := looks.look(number, len(plan), report.during):
                    report, stop = replace(report, stopped=lost), True
                    if process.rank == 0:
                        print(lost["why"], file=sys.stderr, flush=True)
                for event in events.of_looks(vars(report), number):
                    file.add(event)
                if stop:
                    break
                if number < len(plan):  # the last step's result is the model itself
                    saving.act(number, step, replace(report, seconds=time.perf_counter() - start), best)
            best.bring_back()
            report = replace(report, seconds=time.perf_counter() - start)
        export.write_model(engine, written, tokenizer, out_folder, strategy=strategy)
        engine.destroy()
        torch.distributed.barrier()  # no process leaves before the checkpoint is there
    return report


def _check_samples(samples: Sequence[Sample], model_path: Path, what: str = "training set") -> None:
    """Raise TrainingError for samples that teach nothing or are longer than the model's positions."""
    if not samples:
        raise TrainingError(f"the {what} is empty; give at least one question with its answer")
    for number, sample in enumerate(samples):
        if sample.supervised == 0:
            raise TrainingError(
                f"sample {number} of the {what} has no supervised token left after masking, so it "
                "teaches nothing; take it out, or look at its answer and at the tokenizer"
            )
    positions = getattr(checkpoints.read_config(model_path).get_text_config(), "max_position_embeddings", None)
    longest = max(len(sample.input_ids) for sample in samples)
    if positions and longest > positions:
        raise TrainingError(
            f"the longest sample has {longest} tokens, but the model {model_path} has {positions} positions "
            f"(max_position_embeddings); set max_length: {positions} and take longer questions out of the facts"
        )


def _engine(
    model_path: Path,
    settings: FinetuneSettings,
    process: Process,
    strategy: Strategy,
    tokenizer: "PreTrainedTokenizerBase | None" = None,
    written: torch.dtype | None = None,
) -> Any:
    config = engine_config(settings, *micro_batch_plan(settings, process.world_size))
    dtype = deepspeed_engine.DTYPES[settings.dtype]
    if settings.zero_stage == 3:
        model = load_partitioned(model_path, dtype, config, process.rank, rounded=written)
    else:
        # Training starts from the base as restoration sees it: rounded to the type that will be written.
        model = checkpoints.load_model(model_path, dtype=dtype, device="cpu", rounded=written)
    if process.rank == 0:
        export.check_companions(model, written or dtype, tokenizer, model_path)
    if settings.gradient_checkpointing:
        model.activation_checkpointing_enable()
    strategy.prepare(model)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise TrainingError(f"strategy {strategy.name}: no parameter is trained; look at its settings")
    optimizer = torch.optim.AdamW(
        trained,
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    engine = deepspeed_engine.initialize(model, optimizer, config)
    strategy.started(optimizer, masters(engine))
    return engine
