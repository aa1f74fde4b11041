"""Which samples a step trains on, and which of them each process computes; any number trains the same batches."""

import math
from collections.abc import Sequence

import torch

from sftlens.config.stages.training import FinetuneSettings
from sftlens.data.training_sets import training_order
from sftlens.inference.prompts import MASKED, Sample
from sftlens.training.deepspeed_engine import Process

PADDING = Sample([0], [MASKED])
"""What a rank computes where the batch has nothing for it: no supervised token, so no gradient."""


def steps_of(examples: int, settings: FinetuneSettings) -> int:
    """Return the number of optimiser steps: every epoch ends with a batch that may be short."""
    return settings.epochs * math.ceil(examples / settings.batch_size)


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


def _tensors(part: Sequence[Sample], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    length = max(len(sample.input_ids) for sample in part)
    input_ids = torch.zeros(len(part), length, dtype=torch.int64)
    labels = torch.full((len(part), length), MASKED, dtype=torch.int64)
    for row, sample in enumerate(part):
        input_ids[row, : len(sample.input_ids)] = torch.tensor(sample.input_ids)
        labels[row, : len(sample.labels)] = torch.tensor(sample.labels)
    return input_ids.to(device), labels.to(device)
