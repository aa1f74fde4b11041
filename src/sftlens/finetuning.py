"""Supervised fine-tuning of all parameters on a DeepSpeed engine (paper section 3), loss on the answers only.

Every step minimises the sum of the negative log-likelihoods (nats) of the supervised tokens of its global
batch, divided by their number. It is the same loss for any number of processes and of accumulation steps.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sftlens import checkpoints, deepspeed_engine
from sftlens.deepspeed_engine import Process
from sftlens.errors import TrainingError
from sftlens.prompts import MASKED, Sample
from sftlens.settings.finetuning import FinetuneSettings
from sftlens.training_sets import training_order

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PADDING = Sample([0], [MASKED])
"""What a rank computes where the batch has nothing for it: no supervised token, so no gradient."""


@dataclass(frozen=True)
class Report:
    """What a fine-tuning run did; one entry per optimiser step in the lists."""

    examples: int
    """Samples of the training set."""
    losses: list[float] = field(default_factory=list)
    """Mean loss of the supervised tokens, nats, before the step."""
    learning_rates: list[float] = field(default_factory=list)
    """Learning rate of the step."""
    supervised_tokens: list[int] = field(default_factory=list)
    """Supervised tokens of the global batch."""
    gradient_norms: list[float] = field(default_factory=list)
    """Norm of the whole gradient before clipping; empty at ZeRO stage 0, which does not tell it."""
    seconds: float = 0.0
    """Wall time of the loop, without loading and writing."""


def finetune(
    model_path: Path,
    samples: Sequence[Sample],
    settings: FinetuneSettings,
    tokenizer: "PreTrainedTokenizerBase | None",
    out_folder: Path,
    seed: int,
    progress: Callable[[int], object] = lambda steps: None,
) -> Report:
    """Fine-tune a model and write it, with its tokenizer, as a Hugging Face folder of `settings.dtype`.

    Called by every process of the group that the environment describes (see `sftlens.launch`), or by one
    process alone.

    Args:
        model_path: Hugging Face folder or base.json pointer.
        samples: the training set, in the order of `training_sets.take`.
        settings: the recipe.
        tokenizer: saved beside the weights.
        out_folder: written by rank 0, atomically, only when training succeeded.
        seed: seed of the training order.
        progress: called with the number of finished steps.

    Raises:
        TrainingError: no samples, a sample without a supervised token, or a loss, gradient or weight becomes
            NaN or Inf.
        ModelError: the model cannot be loaded.
    """
    _refuse_unusable(samples)
    with deepspeed_engine.process_group() as process:
        dtype = deepspeed_engine.DTYPES[settings.dtype]
        engine = _engine(model_path, settings, process, steps_of(len(samples), settings))
        report = _train(engine, samples, settings, seed, process, progress)
        whole = deepspeed_engine.whole_model(engine, dtype)
        if whole is not None:
            _refuse_damaged(whole, len(report.losses))
            checkpoints.save_model(whole, tokenizer, out_folder)
        engine.destroy()
        torch.distributed.barrier()  # nobody leaves before the checkpoint is there
    return report


def steps_of(examples: int, settings: FinetuneSettings) -> int:
    """Return the number of optimiser steps: every epoch ends with a batch that may be short."""
    return settings.epochs * math.ceil(examples / settings.batch_size)


def learning_rate_factor(step: int, steps: int, warmup: int = 0) -> float:
    """Return the share of the peak learning rate at a step from 0: linear warm-up, then cosine to 0."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def batches(examples: int, settings: FinetuneSettings, seed: int) -> list[list[int]]:
    """Return the samples' numbers in each global batch, in training order, whatever the processes."""
    size = settings.batch_size
    orders = [training_order(examples, seed, epoch) for epoch in range(settings.epochs)]
    return [order[start : start + size] for order in orders for start in range(0, examples, size)]


def micro_batch_plan(settings: FinetuneSettings, world_size: int) -> tuple[int, int]:
    """Return (samples of a micro-batch, micro-batches a step) of each of `world_size` processes."""
    share = math.ceil(settings.batch_size / world_size)
    accumulation = math.ceil(share / (settings.micro_batch_size or share))
    return math.ceil(share / accumulation), accumulation


def micro_batches(
    batch: Sequence[Sample], plan: tuple[int, int], process: Process
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return this rank's micro-batches of a global batch: (input ids, labels), int64, (samples, tokens) each.

    Ranks take samples in turns. There are always as many micro-batches as planned; what the batch does not
    fill is padded with fully masked samples, as are short samples on the right with masked tokens.
    """
    size, accumulation = plan
    mine = list(batch[process.rank :: process.world_size])
    parts = [mine[i * size : (i + 1) * size] or [PADDING] for i in range(accumulation)]
    return [_tensors(part, process.device) for part in parts]


def answer_loss(model: Any, input_ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the summed negative log-likelihood (nats, fp32 scalar) of the supervised tokens.

    Logits are computed only at positions whose next token some sample supervises. Attention needs no mask:
    it is causal and the padding is on the right, where nothing supervised follows.
    """
    targets = labels[:, 1:]
    positions = (targets != MASKED).any(dim=0).nonzero().squeeze(1)
    logits = model(input_ids=input_ids, logits_to_keep=positions, use_cache=False).logits
    return torch.nn.functional.cross_entropy(
        logits.float().flatten(0, 1), targets[:, positions].flatten(), ignore_index=MASKED, reduction="sum"
    )


def _refuse_unusable(samples: Sequence[Sample]) -> None:
    if not samples:
        raise TrainingError("the training set is empty; give at least one question with its answer")
    for number, sample in enumerate(samples):
        if sample.supervised == 0:
            raise TrainingError(
                f"sample {number} of the training set has no supervised token left after masking, so it "
                "teaches nothing; take it out, or look at its answer and at the tokenizer"
            )


def _engine(model_path: Path, settings: FinetuneSettings, process: Process, steps: int) -> Any:
    config = deepspeed_engine.engine_config(settings, *micro_batch_plan(settings, process.world_size))
    dtype = deepspeed_engine.DTYPES[settings.dtype]
    model = checkpoints.load_model(model_path, dtype=dtype, device="cpu")
    if settings.gradient_checkpointing:
        model.activation_checkpointing_enable()
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, steps, settings.warmup_steps)
    )
    return deepspeed_engine.initialize(model, optimizer, scheduler, config)


def _train(
    engine: Any,
    samples: Sequence[Sample],
    settings: FinetuneSettings,
    seed: int,
    process: Process,
    progress: Callable[[int], object],
) -> Report:
    report = Report(examples=len(samples))
    plan = micro_batch_plan(settings, process.world_size)
    start = time.perf_counter()
    engine.train()
    for number, batch in enumerate(batches(len(samples), settings, seed), start=1):
        chosen = [samples[i] for i in batch]
        tokens = sum(sample.supervised for sample in chosen)
        report.supervised_tokens.append(tokens)
        report.learning_rates.append(float(engine.get_lr()[0]))
        report.losses.append(_step(engine, micro_batches(chosen, plan, process), tokens, process, number))
        if (norm := engine.get_global_grad_norm()) is not None:
            _refuse_divergence("norm of the gradient", float(norm), number)
            report.gradient_norms.append(float(norm))
        progress(1)
    return replace(report, seconds=time.perf_counter() - start)


def _step(
    engine: Any, parts: list[tuple[torch.Tensor, torch.Tensor]], tokens: int, process: Process, number: int
) -> float:
    """Take one optimiser step; return the global batch's mean loss before it."""
    total = torch.zeros((), device=process.device)
    for i, (input_ids, labels) in enumerate(parts):
        loss = answer_loss(engine, input_ids, labels)
        # DeepSpeed averages the gradients over the ranks; the world size undoes that.
        engine.backward(loss * (process.world_size / tokens), scale_wrt_gas=False)
        total += loss.detach()
        if i == len(parts) - 1:
            torch.distributed.all_reduce(total)
            _refuse_divergence("loss", float(total), number)
        engine.step()
    return float(total) / tokens


def _refuse_divergence(quantity: str, value: float, step: int) -> None:
    if not math.isfinite(value):
        raise TrainingError(
            f"step {step}: the {quantity} became {value}; nothing was written. Lower learning_rate, or look "
            "for NaN in the base model and for damaged answers in the training set"
        )


def _refuse_damaged(model: torch.nn.Module, step: int) -> None:
    """Look at the weights: the last update is followed by no loss that could show it was bad."""
    for name, parameter in model.named_parameters():
        if not bool(parameter.isfinite().all()):
            _refuse_divergence(f"weight {name}", math.nan, step)


def _tensors(part: Sequence[Sample], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    length = max(len(sample.input_ids) for sample in part)
    input_ids = torch.zeros(len(part), length, dtype=torch.int64)
    labels = torch.full((len(part), length), MASKED, dtype=torch.int64)
    for row, sample in enumerate(part):
        input_ids[row, : len(sample.input_ids)] = torch.tensor(sample.input_ids)
        labels[row, : len(sample.labels)] = torch.tensor(sample.labels)
    return input_ids.to(device), labels.to(device)
