"""One optimiser step on a DeepSpeed engine: its batch, the loss of the answers, its gradient, the learning rate.

Any number of processes trains the same batches: each of them computes its share of a batch's samples.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from sftlens.config.stages.training import FinetuneSettings
from sftlens.data.training_sets import training_order
from sftlens.errors import TrainingError
from sftlens.inference.prompts import MASKED, Sample
from sftlens.strategies import Strategy
from sftlens.strategies.full import Full
from sftlens.training.deepspeed_engine import Process

PADDING = Sample([0], [MASKED])
"""What a rank computes where the batch has nothing for it: no supervised token, so no gradient."""
FULL = Full(Full.settings_class())


@dataclass(frozen=True)
class Step:
    """What one step did."""

    loss: float
    """Mean loss of the supervised tokens of the global batch (the strategy's), nats, before the step."""
    learning_rate: float
    """Its learning rate."""
    supervised_tokens: int
    """Supervised tokens of the global batch."""
    gradient_norm: float | None
    """Norm of the whole gradient before clipping; None at ZeRO stage 0, which does not tell it."""
    save: bool
    """Whether some process wants the state to be saved now."""
    stop: bool
    """Whether some process wants training to stop now."""


def steps_of(examples: int, settings: FinetuneSettings) -> int:
    """Return the number of optimiser steps: every epoch ends with a batch that may be short."""
    return settings.epochs * math.ceil(examples / settings.batch_size)


def batches(examples: int, settings: FinetuneSettings, seed: int, phases: Sequence[int] = ()) -> list[list[int]]:
    """Return the samples' numbers in each global batch, in training order, whatever the processes.

    In each epoch those of a lower phase come first, if samples have `phases`.
    """
    size = settings.batch_size
    orders = [training_order(examples, seed, epoch) for epoch in range(settings.epochs)]
    for order in orders if phases else ():
        order.sort(key=phases.__getitem__)
    return [order[start : start + size] for order in orders for start in range(0, examples, size)]


def micro_batch_plan(settings: FinetuneSettings, world_size: int) -> tuple[int, int]:
    """Return (samples of a micro-batch, micro-batches a step) of each of `world_size` processes."""
    share = math.ceil(settings.batch_size / world_size)
    accumulation = math.ceil(share / (settings.micro_batch_size or share))
    return math.ceil(share / accumulation), accumulation


def micro_batches(
    batch: Sequence[Sample], plan: tuple[int, int], process: Process
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return this rank's micro-batches of a global batch (see `padded`), always as many as planned.

    Ranks take samples in turns.
    """
    size, accumulation = plan
    mine = batch[process.rank :: process.world_size]
    return [padded(mine[number * size : (number + 1) * size], process.device) for number in range(accumulation)]


def padded(samples: Sequence[Sample], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the input ids and the labels of samples that are computed together, int64 (samples, tokens) each.

    Short samples are padded on the right with masked tokens; in the place of none stands one fully masked sample.
    """
    samples = samples or [PADDING]
    length = max(len(sample.input_ids) for sample in samples)
    input_ids = torch.zeros(len(samples), length, dtype=torch.int64)
    labels = torch.full((len(samples), length), MASKED, dtype=torch.int64)
    for row, sample in enumerate(samples):
        input_ids[row, : len(sample.input_ids)] = torch.tensor(sample.input_ids)
        labels[row, : len(sample.labels)] = torch.tensor(sample.labels)
    return input_ids.to(device), labels.to(device)


def learning_rate_factor(step: int, steps: int, warmup: int = 0) -> float:
    """Return the share of the peak learning rate at a step from 0: linear warm-up, then cosine to 0."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def take_step(
    engine: Any,
    batch: Sequence[Sample],
    number: int,
    steps: int,
    settings: FinetuneSettings,
    process: Process,
    wishes: tuple[bool, bool] = (False, False),
    strategy: Strategy = FULL,
    references: Sequence[torch.Tensor] = (),
) -> Step:
    """Train on one global batch; every process must call it.

    Args:
        engine, settings, process: DeepSpeed's, the recipe, this process.
        batch: all samples of the step; each process computes its share.
        number, steps: number of the step, from 1, and how many there will be.
        wishes: whether this process wants (to save, to stop) after the step; the result says it for all.
        strategy: its `loss`, and its `penalty` of the model, the same in every process.
        references: logits of the model that the strategy compares with, for each of this process' samples of the batch.

    Raises:
        TrainingError: the loss or the gradient becomes NaN or Inf.
    """
    rate = settings.learning_rate * learning_rate_factor(number - 1, steps, settings.warmup_steps)
    for group in engine.optimizer.param_groups:
        group["lr"] = rate
    tokens = sum(sample.supervised for sample in batch)
    size, accumulation = micro_batch_plan(settings, process.world_size)
    parts = micro_batches(batch, (size, accumulation), process)
    # One small exchange carries the loss and the wishes, so that all processes decide alike.
    totals = torch.tensor([0.0, *map(float, wishes)], device=process.device)
    for i, (input_ids, labels) in enumerate(parts):
        loss = answer_loss(engine, input_ids, labels, strategy, references[i * size : (i + 1) * size])
        # DeepSpeed averages the gradients over the ranks; the world size undoes that.
        whole = loss * (process.world_size / tokens)
        if i == len(parts) - 1 and (added := strategy.penalty(engine.module)) is not None:
            whole = whole + added  # of every process: their average is the penalty
        engine.backward(whole, scale_wrt_gas=False)
        totals[0] += loss.detach()
        if i == len(parts) - 1:
            torch.distributed.all_reduce(totals)
            _refuse_divergence("loss", float(totals[0]), number)
        engine.step()
    norm = engine.get_global_grad_norm()
    if norm is not None:
        _refuse_divergence("norm of the gradient", float(norm), number)
    total, save, stop = totals.tolist()
    return Step(total / tokens, rate, tokens, None if norm is None else float(norm), save > 0, stop > 0)


def answer_loss(
    model: Any,
    input_ids: torch.Tensor,
    labels: torch.Tensor,
    strategy: Strategy = FULL,
    references: Sequence[torch.Tensor] = (),
) -> torch.Tensor:
    """Return the strategy's summed loss of the supervised tokens (nats, fp32 scalar): their negative log-likelihood.

    `references` holds the logits that it compares with, sample by sample.
    """
    logits, targets = answer_logits(model, input_ids, labels)
    logits = logits.float()
    reference = torch.cat(list(references)).to(logits.device).float() if references else logits[:0].detach()
    return strategy.loss(logits, targets, reference)


def answer_logits(model: Any, input_ids: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logits [tokens, vocabulary] of the supervised tokens, sample by sample, and their ids [tokens].

    The output layer computes these and no others. Attention needs no mask: it is causal and the padding is on
    the right, where nothing supervised follows.
    """
    targets = labels[:, 1:]
    supervised = targets != MASKED

    def chosen(_: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return arguments[0][:, :-1][supervised]  # (samples, tokens, hidden) becomes (supervised, hidden)

    handle = model.get_output_embeddings().register_forward_pre_hook(chosen)
    try:
        logits = model(input_ids=input_ids, use_cache=False).logits
    finally:
        handle.remove()
    return logits, targets[supervised]


def _refuse_divergence(quantity: str, value: float, step: int) -> None:
    if not math.isfinite(value):
        raise TrainingError(
            f"step {step}: the {quantity} became {value}; nothing was written. Lower learning_rate, or look "
            "for NaN in the base model and for damaged answers in the training set"
        )
