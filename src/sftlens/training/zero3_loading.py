"""Loading a model that is partitioned over the processes from its first byte on (ZeRO stage 3).

Every process holds its own part of each tensor; the first one reads the files, one tensor at a time. So a
model may be larger than the memory of any process.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sftlens.models import checkpoints, identity
from sftlens.models.delta.reader import open_tensors
from sftlens.models.placement import checked_tensor
from sftlens.models.safetensors_reader import TensorFolder

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def load_partitioned(path: Path, dtype: torch.dtype, config: dict[str, Any], rank: int) -> "PreTrainedModel":
    """Load a causal language model partitioned over the process group; every process must call it.

    Args:
        path: Hugging Face folder or base.json pointer.
        dtype: type of the weights in memory.
        config: DeepSpeed's configuration, of stage 3.
        rank: this process' number; 0 reads the weights.

    Raises:
        ModelError: a tensor is missing, extra, wrongly shaped or holds NaN or Inf.
    """
    import deepspeed

    folder = identity.resolve(path)
    checkpoints.quieten()
    source = open_tensors(folder)
    model = _empty(folder, dtype, config)
    checkpoints.compare_weights(source, model)
    for name, parameter in model.named_parameters():
        with deepspeed.zero.GatheredParameters(parameter, modifier_rank=0):
            if rank == 0:
                parameter.data.copy_(checked_tensor(source, name))
    if rank == 0:
        _refuse_untied(source, model)
    checkpoints.read_generation_config(folder, model)
    return model


def _empty(folder: Path, dtype: torch.dtype, config: dict[str, Any]) -> "PreTrainedModel":
    """Return the model of a folder's config.json without values, partitioned module by module as it is made."""
    import deepspeed
    from transformers.initialization import no_init_weights
    from transformers.integrations.deepspeed import prevent_arange_dtype_change

    wanted = checkpoints.read_config(folder)
    wanted.dtype = dtype
    # The type comes from the configuration: DeepSpeed 0.19 does not heed its argument `dtype` on a CPU. The
    # frequencies of the positions stay in fp32, as everywhere else.
    with no_init_weights(), prevent_arange_dtype_change(), deepspeed.zero.Init(config_dict_or_path=config):
        model: PreTrainedModel = checkpoints.architecture(folder, wanted)(wanted)
    model.tie_weights()
    return model


def _refuse_untied(source: TensorFolder, model: "PreTrainedModel") -> None:
    """Compare what the files hold under the second name of a tied tensor with the first."""
    places = dict(model.named_parameters(remove_duplicate=False))
    first = {id(parameter): name for name, parameter in model.named_parameters()}
    for name in source.names:
        original = first.get(id(places.get(name)), name)
        if original != name and not torch.equal(source.get(name), source.get(original)):
            checkpoints.refuse_untied(source)
