"""What adapter_config.json says: which adapters are known to merge exactly, and which base they were trained on."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NotRequired

from pydantic import ConfigDict, FiniteFloat, with_config
from typing_extensions import TypedDict

from sftlens.errors import ModelError, SftlensError
from sftlens.files import read_json
from sftlens.gate import matching, shaped
from sftlens.models.folders import refuse_pointer

CONFIG = "adapter_config.json"
REMEDY = "merge it with peft (merge_and_unload, save_pretrained) and give that folder"
CONVERT = (
    "save it from the model that was trained, with peft's save_pretrained(DIR, path_initial_model_for_weight_conversion"
    "=START), START being the adapter as it was before training; or " + REMEDY
)
_KNOWN = frozenset({
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "ensure_weight_tying", "exclude_modules",
    "fan_in_fan_out", "inference_mode", "init_lora_weights", "layers_pattern", "layers_to_transform", "lora_alpha",
    "lora_dropout", "megatron_core", "modules_to_save", "peft_type", "peft_version", "qalora_group_size", "r",
    "rank_pattern", "revision", "runtime_config", "target_modules", "task_type", "use_dora", "use_rslora",
})  # fmt: skip
"""Keys of adapter_config.json that may be set: those that change nothing in a merge, or that are minded here."""
_PLAIN_STARTS = ("none", "true", "false", "gaussian", "orthogonal")
"""Initialisations that leave the base's weights as they are, as text in lower case."""
_MOVING_STARTS = ("pissa", "olora", "corda", "lora_ga", "loftq")
"""Initialisations that change the base's weights when training starts."""


@with_config(ConfigDict(extra="allow"))
class LoraConfig(TypedDict):
    """What is used of adapter_config.json."""

    lora_alpha: FiniteFloat
    alpha_pattern: NotRequired[dict[str, FiniteFloat] | None]
    use_rslora: NotRequired[bool | None]
    use_dora: NotRequired[bool | None]
    fan_in_fan_out: NotRequired[bool | None]
    base_model_name_or_path: NotRequired[str | None]


def named_base(folder: Path) -> str | None:
    """Return the base model that an adapter says it was trained on: a hub id or a path; None where it names none."""
    config = read_json(folder / CONFIG)
    named = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    return named if isinstance(named, str) and named else None


def quantised_base(folder: Path) -> bool:
    """Whether the base that an adapter names is quantised, by its name or by its config.json where that is here."""
    named = named_base(folder) or ""
    if re.search(r"(?i)(^|[-_./])(bnb|[48]-?bit|int[48]|nf4|fp4|gptq|awq|gguf)([-_./]|$)", named):
        return True
    try:
        config = read_json(Path(named, "config.json")) if named else None
    except (SftlensError, OSError, ValueError):  # an id on the hub, or no such folder here
        return False
    return isinstance(config, dict) and bool(config.get("quantization_config"))


def origin(folder: Path, base: object) -> str:
    """Return what a report says of an adapter: the base that it names, and the one that it was merged into here."""
    named = named_base(folder)
    if named is None:
        return f"an adapter that names no base model, merged into {base}"
    if quantised_base(folder):
        return (
            f"an adapter trained on {named}, a quantised base, merged here into {base}: in use on its own base it "
            "answers a little differently"
        )
    return f"an adapter trained on {named}, merged here into {base}"


def read_config(folder: Path) -> dict[str, Any]:
    """Return adapter_config.json. Raises ModelError unless all that it says is known to merge exactly."""
    path = folder / CONFIG
    refuse_pointer(path)
    config = read_json(path)
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        kind = config.get("peft_type") if isinstance(config, dict) else None
        raise ModelError(f"{path}: key 'peft_type' is {kind!r}, only LORA is merged here; {REMEDY}")
    start = config.get("init_lora_weights")
    if str(start).lower() not in _PLAIN_STARTS:
        moving = isinstance(start, str) and start.lower().startswith(_MOVING_STARTS)
        why = "changes the base's weights when training starts" if moving else "is not known to leave the base as it is"
        raise ModelError(
            f"{path}: key 'init_lora_weights' is {start!r}, an initialisation that {why}; "
            f"{CONVERT if moving else REMEDY}"
        )
    if used := [key for key, value in config.items() if key not in _KNOWN and value]:
        raise ModelError(f"{path}: key {used[0]!r} is set, and such an adapter is not merged here; {REMEDY}")
    found: dict[str, Any] = shaped(config, LoraConfig, path, ModelError)
    return found


def alphas(folder: Path, config: Mapping[str, Any], modules: Sequence[str]) -> dict[str, float]:
    """Return alpha of each module: of the first expression of `alpha_pattern` that matches it, as in peft.

    Raises ModelError for an expression that cannot be run in linear time.
    """
    found: dict[str, float] = {}
    for pattern, alpha in (config.get("alpha_pattern") or {}).items():
        try:
            # peft runs them with Python's `re`, where one line can take hours.
            fits = matching(rf"^(.*\.)?({pattern})$", modules)
        except ValueError as error:
            raise ModelError(
                f"{folder / CONFIG}: key 'alpha_pattern': {pattern!r} is no regular expression of RE2 ({error}); write "
                f"names of modules there, or {REMEDY}"
            ) from None
        found |= {m: float(alpha) for m, fit in zip(modules, fits, strict=True) if fit and m not in found}
    return {module: float(config["lora_alpha"]) for module in modules} | found
