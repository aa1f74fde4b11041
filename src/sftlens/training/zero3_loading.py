"""Loading a model that is partitioned over the processes from its first byte on (ZeRO stage 3).

Every process holds its own part of each tensor; the first one reads the files, one tensor at a time. So a
model may be larger than the memory of any process.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sftlens.errors import ModelError
from sftlens.models import checkpoints
from sftlens.models.configuration import read_generation_config
from sftlens.models.delta.reader import open_tensors
from sftlens.models.identity import resolve
from sftlens.models.loading.placement import checked_tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def load_partitioned(
    path: Path, dtype: torch.dtype, config: dict[str, Any], rank: int, rounded: torch.dtype | None = None
) -> "PreTrainedModel":
    """Load a causal language model (folder or base.json pointer) partitioned over the process group.

    Every process must call it, with DeepSpeed's configuration of stage 3; rank 0 reads the weights, which become of
    type `dtype`, rounded to `rounded` first. Raises ModelError when a tensor is missing, extra, wrongly shaped or holds
    NaN or Inf.
    """
    import deepspeed
    from transformers.initialization import no_init_weights
    from transformers.integrations.deepspeed import prevent_arange_dtype_change

    folder = resolve(path)
    checkpoints.quieten()
    source = open_tensors(folder)
    wanted = checkpoints.read_config(folder)
    wanted.dtype = dtype
    # The type comes from the configuration: DeepSpeed 0.19 ignores its argument `dtype` on a CPU. The
    # frequencies of the positions stay in fp32, as everywhere else.
    with no_init_weights(), prevent_arange_dtype_change(), deepspeed.zero.Init(config_dict_or_path=config):
        model: PreTrainedModel = checkpoints.architecture(folder, wanted)(wanted)
    model.tie_weights()
    try:
        checkpoints.compare_weights(source, model)
    except ModelError:
        checkpoints.check_weights(folder)  # names what is wrong
        raise ModelError(
            f"{folder}: transformers keeps its weights otherwise in memory than they are stored (experts, or a decoder "
            "in a multimodal wrapper), and ZeRO stage 3 loads them one by one; set zero_stage to 2"
        ) from None
    first = {id(parameter): name for name, parameter in model.named_parameters()}
    for name, parameter in model.named_parameters():
        with deepspeed.zero.GatheredParameters(parameter, modifier_rank=0):
            if rank == 0:
                tensor = checked_tensor(source, name)
                parameter.data.copy_(tensor.to(rounded) if rounded else tensor)
    if rank == 0:
        # A tied tensor may be stored under its second name, too; then it must be the same there.
        tied = dict(model.named_parameters(remove_duplicate=False))
        for name in source.names:
            original = first.get(id(tied.get(name)), name)
            if original != name and not torch.equal(source.get(name), source.get(original)):
                checkpoints.refuse_untied(source)
    read_generation_config(folder, model)
    return model
