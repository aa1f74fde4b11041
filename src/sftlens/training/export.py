"""Writing a trained model out of its DeepSpeed engine as a Hugging Face folder, one tensor at a time."""

import copy
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sftlens.errors import TrainingError
from sftlens.files import atomic_path
from sftlens.models import checkpoints, identity
from sftlens.models.safetensors_writer import SHARD_BYTES, TensorSpec, write_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def write_model(
    engine: Any,
    dtype: torch.dtype,
    tokenizer: "PreTrainedTokenizerBase | None",
    folder: Path,
    shard_bytes: int = SHARD_BYTES,
    finished: Callable[[str, torch.Tensor], torch.Tensor] = lambda name, weight: weight,
) -> None:
    """Write weights of type `dtype`, configuration, generation settings and tokenizer, atomically.

    Every process must call it; the first one writes what `finished` makes of each weight. Raises TrainingError when one
    is NaN or Inf.
    """
    shapes = {name: tuple(getattr(p, "ds_shape", p.shape)) for name, p in engine.module.named_parameters()}
    names = sorted(shapes)
    # Closed while the processes still know one another, also where the disk is full.
    with closing(_weights(engine, names, dtype, finished)) as weights:
        if engine.global_rank == 0:
            specs = [TensorSpec(name, shapes[name], dtype) for name in names]
            _write(engine.module, dtype, tokenizer, folder, specs, weights, shard_bytes)
        for _ in weights:
            pass


def _write(
    model: "PreTrainedModel",
    dtype: torch.dtype,
    tokenizer: "PreTrainedTokenizerBase | None",
    folder: Path,
    specs: Sequence[TensorSpec],
    weights: Iterator[torch.Tensor],
    shard_bytes: int,
) -> None:
    checkpoints.quieten()
    with atomic_path(folder) as partial:
        partial.mkdir()
        _write_companions(model, dtype, tokenizer, partial)
        write_weights(partial, specs, weights, shard_bytes)
        identity.make_readable(partial)


def _weights(
    engine: Any, names: Sequence[str], dtype: torch.dtype, finished: Callable[[str, torch.Tensor], torch.Tensor]
) -> Generator[torch.Tensor]:
    """Yield each tensor, whole; where processes hold parts, all of them gather it and then let go of it again."""
    import deepspeed

    parameters = dict(engine.module.named_parameters())
    for name in names:
        with deepspeed.zero.GatheredParameters(parameters[name]):
            tensor = finished(name, parameters[name].detach())
            if engine.global_rank == 0 and not bool(tensor.isfinite().all()):
                # The last update is followed by no loss that could show it was bad.
                raise TrainingError(
                    f"weight {name} became {math.nan}; nothing was written. Lower learning_rate, or look for NaN "
                    "in the base model and for damaged answers in the training set"
                )
            yield tensor.to(dtype)


def _write_companions(
    model: "PreTrainedModel", dtype: torch.dtype, tokenizer: "PreTrainedTokenizerBase | None", folder: Path
) -> None:
    config = copy.deepcopy(model.config)
    config.architectures = [type(model).__name__]
    config.dtype = str(dtype).removeprefix("torch.")
    config.save_pretrained(folder)
    if model.generation_config is not None:
        model.generation_config.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
