"""One optimiser step on a DeepSpeed engine: the loss of the answers, its gradient, the learning rate."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from sftlens.config.stages.training import FinetuneSettings
from sftlens.errors import TrainingError
from sftlens.inference.prompts import MASKED, Sample
from sftlens.training.batches import micro_batch_plan, micro_batches
from sftlens.training.deepspeed_engine import Process


@dataclass(frozen=True)
class Step:
    """What one step did."""

    loss: float
    """Mean loss of the supervised tokens of the global batch, nats, before the step."""
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
    penalty: Callable[[Any], torch.Tensor | None] = lambda model: None,
) -> Step:
    """Train on one global batch; every process must call it.

    Args:
        engine: the DeepSpeed engine.
        batch: all samples of the step; each process computes its share.
        number: number of the step, from 1.
        steps: how many there will be.
        settings: the recipe.
        process: this process.
        wishes: whether this process wants (to save, to stop) after the step; the result says it for all.
        penalty: of the model, added to the mean loss; the same in every process.

    Raises:
        TrainingError: the loss or the gradient becomes NaN or Inf.
    """
    rate = settings.learning_rate * learning_rate_factor(number - 1, steps, settings.warmup_steps)
    for group in engine.optimizer.param_groups:
        group["lr"] = rate
    tokens = sum(sample.supervised for sample in batch)
    parts = micro_batches(batch, micro_batch_plan(settings, process.world_size), process)
    # One small exchange carries the loss and the wishes, so that all processes decide alike.
    totals = torch.tensor([0.0, *map(float, wishes)], device=process.device)
    for i, (input_ids, labels) in enumerate(parts):
        loss = answer_loss(engine, input_ids, labels)
        # DeepSpeed averages the gradients over the ranks; the world size undoes that.
        whole = loss * (process.world_size / tokens)
        if i == len(parts) - 1 and (added := penalty(engine.module)) is not None:
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


def answer_loss(model: Any, input_ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the summed negative log-likelihood (nats, fp32 scalar) of the supervised tokens.

    The output layer computes these and no others. Attention needs no mask: it is causal and the padding is on
    the right, where nothing supervised follows.
    """
    targets = labels[:, 1:]
    supervised = targets != MASKED
    with _output_only_at(model.get_output_embeddings(), supervised):
        logits = model(input_ids=input_ids, use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.float(), targets[supervised], reduction="sum")


@contextmanager
def _output_only_at(layer: torch.nn.Module, positions: torch.Tensor) -> Iterator[None]:
    """Let the output layer see only the chosen positions: (samples, tokens, hidden) becomes (chosen, hidden)."""

    def choose(_: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return arguments[0][:, :-1][positions]

    handle = layer.register_forward_pre_hook(choose)
    try:
        yield
    finally:
        handle.remove()


def _refuse_divergence(quantity: str, value: float, step: int) -> None:
    if not math.isfinite(value):
        raise TrainingError(
            f"step {step}: the {quantity} became {value}; nothing was written. Lower learning_rate, or look "
            "for NaN in the base model and for damaged answers in the training set"
        )
