"""Writing a trained model out of its DeepSpeed engine as a Hugging Face folder, one tensor at a time."""

import copy
import math
import tempfile
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sftlens.errors import ModelError, TrainingError
from sftlens.files import atomic_path, make_readable
from sftlens.models import checkpoints
from sftlens.models.safetensors_writer import SHARD_BYTES, TensorSpec, write_weights
from sftlens.strategies import Strategy
from sftlens.training.step import FULL

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def write_model(
    engine: Any,
    dtype: torch.dtype,
    tokenizer: "PreTrainedTokenizerBase | None",
    folder: Path,
    shard_bytes: int = SHARD_BYTES,
    strategy: Strategy = FULL,
) -> None:
    """Write weights of type `dtype`, configuration, generation settings and tokenizer, atomically.

    Every process must call it; the first one writes what the strategy makes of the model, and of each weight. Raises
    TrainingError when one is NaN or Inf.
    """
    import deepspeed

    model = engine.module
    strategy.trained(model)
    parameters = dict(sorted(model.named_parameters()))

    def whole_weights() -> Generator[torch.Tensor]:
        # Where processes hold parts of a tensor, all of them gather it and then let go of it again.
        for name, parameter in parameters.items():
            with deepspeed.zero.GatheredParameters(parameter):
                tensor = strategy.finished(name, parameter.detach())
                if engine.global_rank == 0 and not bool(tensor.isfinite().all()):
                    # The last update is followed by no loss that could show it was bad.
                    raise TrainingError(
                        f"weight {name} became {math.nan}; nothing was written. Lower learning_rate, or look for NaN "
                        "in the base model and for damaged answers in the training set"
                    )
                yield from as_stored(model, {name: tensor.to(dtype)}).values()

    # Closed while the processes still know one another, also where the disk is full.
    with closing(whole_weights()) as weights:
        if engine.global_rank == 0:
            with atomic_path(folder) as partial:
                partial.mkdir()
                save_companions(model, dtype, tokenizer, partial)
                stored = [item for part in outlines(model) for item in part.items()]
                specs = [TensorSpec(name, tuple(tensor.shape), dtype) for name, tensor in stored]
                write_weights(partial, specs, weights, shard_bytes)
                strategy.save(partial)
                make_readable(partial)
        for _ in weights:
            pass


def as_stored(model: Any, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return parameters under the names, and cut into the tensors, that checkpoints of this architecture have.

    transformers keeps some otherwise in memory: all experts of a block in one tensor, or a decoder in a wrapper.
    Written as they were read, base and fine-tuned model can be compared, and other programs load both.
    """
    from transformers.core_model_loading import revert_weight_conversion

    stored: dict[str, torch.Tensor] = revert_weight_conversion(model, tensors)
    return stored


def outlines(model: Any) -> list[dict[str, torch.Tensor]]:
    """Return what is stored of each parameter, by name, as tensors without data."""
    shapes = {name: getattr(p, "ds_shape", p.shape) for name, p in sorted(model.named_parameters())}
    return [as_stored(model, {name: torch.empty(shape, device="meta")}) for name, shape in shapes.items()]


def save_companions(model: Any, dtype: torch.dtype, tokenizer: "PreTrainedTokenizerBase | None", folder: Path) -> None:
    """Write what belongs beside the weights: configuration, generation settings and tokenizer."""
    checkpoints.quieten()
    config = copy.deepcopy(model.config)
    config.architectures = [type(model).__name__]
    config.dtype = str(dtype).removeprefix("torch.")
    for companion in (config, model.generation_config, tokenizer):
        if companion is not None:
            companion.save_pretrained(folder)


def check_companions(model: Any, dtype: torch.dtype, tokenizer: "PreTrainedTokenizerBase | None", origin: Path) -> None:
    """Refuse a model that could not be saved once it is trained. Raises ModelError with what transformers says.

    `origin` is the folder or pointer that it was loaded from.
    """
    with tempfile.TemporaryDirectory(prefix="sftlens-") as folder:
        try:
            save_companions(model, dtype, tokenizer, Path(folder))
            outlines(model)
        except Exception as error:  # of any kind: better now than after the last step
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ModelError(
                f"{origin}: transformers loads this model but could not save it after training ({reason}); "
                "correct its config.json, generation_config.json or tokenizer_config.json"
            ) from None
