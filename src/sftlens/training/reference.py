"""Logits of a frozen model on the answer tokens of a training set, which a strategy compares with: computed once.

A process computes and keeps those of the samples that it trains on, in main memory: (answer tokens) x (vocabulary)
numbers of the type that it trains in.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from sftlens.config.stages.training import FinetuneSettings
from sftlens.errors import ModelError
from sftlens.inference.prompts import Sample
from sftlens.models import checkpoints
from sftlens.training import deepspeed_engine
from sftlens.training.deepspeed_config import engine_config
from sftlens.training.deepspeed_engine import Process
from sftlens.training.step import answer_logits, micro_batch_plan, padded
from sftlens.training.zero3_loading import load_partitioned


def logits(
    model: Any, samples: Sequence[Sample], plan: Sequence[Sequence[int]], settings: FinetuneSettings, process: Process
) -> dict[int, torch.Tensor]:
    """Return the model's logits [answer tokens, vocabulary] of each sample that this process trains on, by its number.

    Every process must call it. `model` is the frozen one, or its engine, `plan` the numbers of the samples of each
    global batch (`step.batches`). As many samples are computed at a time as in training.
    """
    shares = [
        list(dict.fromkeys(i for batch in plan for i in batch[rank :: process.world_size]))
        for rank in range(process.world_size)
    ]
    size, _ = micro_batch_plan(settings, process.world_size)
    found: dict[int, torch.Tensor] = {}
    model.eval()
    # At ZeRO stage 3 all processes must compute equally often, so that one with fewer samples computes padding.
    for start in range(0, max(map(len, shares)), size):
        mine = shares[process.rank][start : start + size]
        with torch.no_grad():
            rows, _ = answer_logits(model, *padded([samples[i] for i in mine], process.device))
        parts = rows.cpu().split([samples[i].supervised for i in mine]) if mine else ()
        found |= zip(mine, (part.clone() for part in parts), strict=True)
    return found


def logits_of_pilot(
    path: Path,
    base: Path,
    samples: Sequence[Sample],
    plan: Sequence[Sequence[int]],
    settings: FinetuneSettings,
    process: Process,
) -> dict[int, torch.Tensor]:
    """Return `logits` of the model in a folder, which is in memory meanwhile, partitioned at ZeRO stage 3.

    Raises ModelError where its vocabulary is another than that of the model that is trained, `base`.
    """
    found, wanted = (checkpoints.read_config(model).get_text_config().vocab_size for model in (path, base))
    if found != wanted:
        raise ModelError(
            f"{path}: has {found} tokens in its vocabulary, the model that is trained {wanted}; give a model that was "
            "fine-tuned from the same base"
        )
    dtype = deepspeed_engine.DTYPES[settings.dtype]
    if settings.zero_stage < 3:
        model = checkpoints.load_model(path, dtype=dtype, device=str(process.device))
        return logits(model, samples, plan, settings, process)
    config = engine_config(settings, *micro_batch_plan(settings, process.world_size))
    engine = deepspeed_engine.initialize(load_partitioned(path, dtype, config, process.rank), None, config)
    try:
        return logits(engine, samples, plan, settings, process)
    finally:
        engine.destroy()
