"""Do the weight files of a checkpoint hold the tensors that its config.json asks for? No tensor is read."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from sftlens.models import checkpoints
from sftlens.models.safetensors_reader import TensorFolder

if TYPE_CHECKING:
    from transformers import PreTrainedModel

COMPUTED = r"rotary_emb\.inv_freq"
"""Tensors that old checkpoints store although every model computes them itself."""


def check(folder: Path) -> None:
    """Raise ModelError where a tensor of a model folder is missing, extra or of another shape than config.json says."""
    config = checkpoints.read_config(folder)
    kind = checkpoints.architecture(folder, config)
    with torch.device("meta"):
        model: PreTrainedModel = kind(config)
    model.tie_weights()
    compare(checkpoints.open_tensors(folder), model)


def compare(source: TensorFolder, model: "PreTrainedModel") -> None:
    """Raise ModelError where weight files do not fit a model, partitioned (ZeRO stage 3) or not."""
    places = model.named_parameters(remove_duplicate=False)
    shapes = {name: tuple(getattr(parameter, "ds_shape", parameter.shape)) for name, parameter in places}
    needed = {name for name, _ in model.named_parameters()}
    ignored = {COMPUTED, *(model._keys_to_ignore_on_load_unexpected or ())}
    unknown = [name for name in source.names if name not in shapes]
    checkpoints.refuse_mismatch(
        source,
        {
            "missing_keys": needed - set(source.names),
            "unexpected_keys": [name for name in unknown if not any(re.search(pattern, name) for pattern in ignored)],
            "mismatched_keys": [
                (name, source.shape(name), shapes[name])
                for name in source.names
                if name in shapes and source.shape(name) != shapes[name]
            ],
        },
    )
