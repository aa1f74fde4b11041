"""DeepSpeed's configuration: ours, made from the settings, and what a file of the user adds to it."""

import difflib
from pathlib import Path
from typing import Any

from sftlens.config.stages.training import FinetuneSettings
from sftlens.errors import ConfigError, DataError
from sftlens.files import read_json

OFFLOADED = {"none": (), "optimizer": ("offload_optimizer",), "parameters": ("offload_optimizer", "offload_param")}
"""What DeepSpeed calls the parts that `finetuning.offload` moves to the main memory."""
FREE = {"zero_optimization", "communication_data_type", "data_types", "wall_clock_breakdown", "memory_breakdown"}
"""Keys of DeepSpeed that a file may set."""
OWNED = {
    "train_batch_size": "finetuning.batch_size",
    "train_micro_batch_size_per_gpu": "finetuning.micro_batch_size",
    "gradient_accumulation_steps": "finetuning.micro_batch_size",
    "gradient_clipping": "finetuning.gradient_clipping",
    "optimizer": "finetuning.learning_rate, beta1, beta2, epsilon and weight_decay",
    "scheduler": "finetuning.learning_rate and warmup_steps",
    "bf16": "finetuning.dtype",
    "fp16": "finetuning.dtype",
    "activation_checkpointing": "finetuning.gradient_checkpointing",
}
"""Keys that the training loop sets, and where its user sets them."""
ZERO = {
    "stage",
    "contiguous_gradients",
    "reduce_scatter",
    "reduce_bucket_size",
    "use_multi_rank_bucket_allreduce",
    "allgather_partitions",
    "allgather_bucket_size",
    "overlap_comm",
    "offload_param",
    "offload_optimizer",
    "sub_group_size",
    "round_robin_gradients",
    "stage3_prefetch_bucket_size",
    "stage3_param_persistence_threshold",
    "stage3_max_live_parameters",
    "stage3_max_reuse_distance",
    "stage3_module_granularity_threshold",
    "stage3_use_all_reduce_for_fetch_params",
}
"""Keys of `zero_optimization` that change where things are and when they travel, not what is computed."""
GRADIENT_TYPES = ("bf16", "fp32")
"""What `data_types.grad_accum_dtype` may be: the type in which gradients of micro-batches are added up."""
OFFLOAD = {
    "offload_optimizer": {"device", "pin_memory"},
    "offload_param": {"device", "pin_memory", "buffer_count", "buffer_size", "max_in_cpu"},
}


def engine_config(settings: FinetuneSettings, micro_batch: int, accumulation: int) -> dict[str, Any]:
    """Return DeepSpeed's configuration for `accumulation` micro-batches of `micro_batch` samples a step.

    Raises ConfigError where the file `settings.deepspeed` has a key that is unknown, that the training loop sets, or
    that contradicts the settings, DataError where it is missing or no JSON.
    """
    if given := check(settings):
        from deepspeed.runtime.zero.config import DeepSpeedZeroConfig
        from pydantic import ValidationError

        try:
            DeepSpeedZeroConfig(**given.get("zero_optimization", {}))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise ConfigError(
                f"{settings.deepspeed}: key 'zero_optimization.{key}': {first['msg'].lower()}; correct it there"
            ) from None
    zero = {"stage": settings.zero_stage, "overlap_comm": False} | given.pop("zero_optimization", {})
    for part in OFFLOADED[settings.offload]:
        zero[part] = {"pin_memory": True, **zero.get(part, {}), "device": "cpu"}
    return given | {
        "train_micro_batch_size_per_gpu": micro_batch,
        "gradient_accumulation_steps": accumulation,
        "gradient_clipping": settings.gradient_clipping,
        "bf16": {"enabled": settings.dtype == "bfloat16"},
        # Else DeepSpeed warns that it does not know torch's own AdamW, or compiles one for the main memory.
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "zero_optimization": zero,
        "steps_per_print": 2**31,
    }


def check(settings: FinetuneSettings) -> dict[str, Any]:
    """Return what the file `settings.deepspeed` says, {} without one. Raises as `engine_config`; needs no DeepSpeed."""
    if not settings.deepspeed:
        return {}
    path = Path(settings.deepspeed)
    if not path.is_file():
        raise DataError(f"{path}: no such file; correct finetuning.deepspeed (config/deepspeed has some)")
    given = _mapping(path, "", read_json(path))
    for key in given:
        if key in OWNED:
            raise ConfigError(f"{path}: key {key!r} belongs to the training loop; take it out and set {OWNED[key]}")
    _refuse_unknown(path, "", given, FREE)
    types = _mapping(path, "data_types", given.get("data_types", {}))
    _refuse_unknown(path, "data_types.", types, {"grad_accum_dtype"})
    if types.get("grad_accum_dtype", "fp32") not in GRADIENT_TYPES:
        raise ConfigError(
            f"{path}: key 'data_types.grad_accum_dtype' is {types['grad_accum_dtype']!r}; give one of "
            f"{', '.join(GRADIENT_TYPES)}"
        )
    zero = _mapping(path, "zero_optimization", given.get("zero_optimization", {}))
    _refuse_unknown(path, "zero_optimization.", zero, ZERO)
    if zero.get("stage", settings.zero_stage) != settings.zero_stage:
        raise ConfigError(
            f"{path}: key 'zero_optimization.stage' is {zero['stage']}, but finetuning.zero_stage is "
            f"{settings.zero_stage}; set finetuning.zero_stage: {zero['stage']}, or take the key out"
        )
    for part, known in OFFLOAD.items():
        offload = _mapping(path, part, zero.get(part, {}))
        _refuse_unknown(path, f"zero_optimization.{part}.", offload, known)
        device = offload.get("device", "cpu")
        if offload and device != ("cpu" if part in OFFLOADED[settings.offload] else "none"):
            wanted = {"offload_optimizer": "optimizer", "offload_param": "parameters"}[part]
            remedy = f"set finetuning.offload: {wanted}" if device == "cpu" else "only 'cpu' is supported"
            raise ConfigError(
                f"{path}: key 'zero_optimization.{part}' moves to {device!r}, but finetuning.offload is "
                f"{settings.offload}; {remedy}, or take the key out"
            )
    return given


def _mapping(path: Path, prefix: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        where = f"key {prefix!r} " if prefix else ""
        raise ConfigError(f"{path}: {where}holds no mapping but {type(value).__name__}; see config/deepspeed")
    return value


def _refuse_unknown(path: Path, prefix: str, given: dict[str, Any], known: set[str]) -> None:
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys here: {', '.join(sorted(known))}"
            raise ConfigError(f"{path}: unknown key '{prefix}{key}'; {hint}")
