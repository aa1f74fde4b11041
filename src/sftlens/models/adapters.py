"""LoRA adapters (Hu et al., ICLR 2022, arXiv 2106.09685) merged into their base, one tensor in memory at a time.

W' = W + scaling B A, computed in fp32 and rounded to the base's type, as `merge_and_unload` of peft does; scaling is
alpha / r, or alpha / sqrt(r) with rsLoRA (Kalajdzievski, arXiv 2312.03732). Whole tensors that an adapter brings
(biases, `modules_to_save`) replace the base's. What cannot be merged like that is refused.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired

from pydantic import ConfigDict, FiniteFloat, with_config
from torch import Tensor
from typing_extensions import TypedDict

from sftlens.errors import ModelError
from sftlens.files import read_json
from sftlens.gate import matching, shaped
from sftlens.models.delta.reader import open_tensors
from sftlens.models.identity import CONFIGURATION, TOKENIZER, copy_matching, make_readable, resolve
from sftlens.models.placement import STORED_TYPES, checked_tensor
from sftlens.models.safetensors_reader import TensorFolder, open_file
from sftlens.models.safetensors_writer import TensorSpec, write_weights

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
REMEDY = "merge it with peft (merge_and_unload, save_pretrained) and give that folder"
PREFIX = "base_model.model."
_PART = re.compile(r"(?P<module>.+)\.lora_(?P<kind>embedding_)?(?P<side>[AB])(?:\.weight)?")
_UNSUPPORTED = (
    "use_dora", "use_qalora", "lora_bias", "layer_replication", "trainable_token_indices", "target_parameters",
    "alora_invocation_tokens", "use_bdlora", "arrow_config", "kasa_config", "velora_config", "monteclora_config",
    "megatron_config", "loftq_config",
)  # fmt: skip


@with_config(ConfigDict(extra="allow"))
class LoraConfig(TypedDict):
    """What is used of adapter_config.json."""

    lora_alpha: FiniteFloat
    alpha_pattern: NotRequired[dict[str, FiniteFloat] | None]
    use_rslora: NotRequired[bool | None]
    fan_in_fan_out: NotRequired[bool | None]
    base_model_name_or_path: NotRequired[str | None]


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds a peft adapter rather than a model."""
    return (folder / CONFIG).is_file()


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter, checked against its base; nothing but its own, small tensors is in memory."""

    folder: Path
    config: Mapping[str, Any]
    low_rank: Mapping[str, tuple[Tensor, Tensor, bool]]
    """Name of the base's tensor -> A, B, and whether it is an embedding."""
    whole: Mapping[str, Tensor]
    """Name of the base's tensor -> what replaces it, before any low-rank change."""
    alpha: Mapping[str, float]
    """Module -> alpha, where `alpha_pattern` gives it one of its own."""

    def merged(self, name: str, tensor: Tensor) -> Tensor:
        """Return what becomes of one tensor of the base: same shape and dtype."""
        # peft stores an embedding whole beside its low-rank change.
        tensor = self.whole[name].to(tensor.dtype) if name in self.whole else tensor
        if name not in self.low_rank:
            return tensor
        a, b, embedding = self.low_rank[name]
        change = (b.float() @ a.float()) * self.scaling(name.removesuffix(".weight"), a.shape[0])
        if embedding:  # here peft rounds the change before it is added
            return tensor + change.T.to(tensor.dtype)
        return (tensor.float() + (change.T if self.config.get("fan_in_fan_out") else change)).to(tensor.dtype)

    def scaling(self, module: str, rank: int) -> float:
        """Return the factor of B A in one module."""
        return self.alpha.get(module, self.config["lora_alpha"]) / (
            math.sqrt(rank) if self.config.get("use_rslora") else rank
        )


def read(folder: Path, base: TensorFolder) -> Adapter:
    """Return the adapter of a folder. Raises ModelError when it is damaged, of another base, or cannot be merged."""
    path = folder / CONFIG
    config = read_json(path)
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        kind = config.get("peft_type") if isinstance(config, dict) else None
        raise ModelError(f"{path}: key 'peft_type' is {kind!r}, only LORA is merged here; {REMEDY}")
    if used := [key for key in _UNSUPPORTED if config.get(key)]:
        raise ModelError(f"{path}: key {used[0]!r} is set, and such an adapter is not merged here; {REMEDY}")
    config = shaped(config, LoraConfig, path, ModelError)
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise ModelError(f"{folder}: {WEIGHTS} is missing; save the adapter in safetensors format (peft's default)")
    handle = open_file(weights)
    tensors = {name.removeprefix(PREFIX): handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    if damaged := sorted(name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())):
        raise ModelError(f"{weights}: tensor {damaged[0]!r} holds NaN or Inf; training diverged, train again")
    # The low-rank parts of each module, by A and B; everything else replaces a tensor of the base.
    parts: dict[str, dict[str, Tensor]] = {}
    whole = {}
    for name, tensor in tensors.items():
        if found := _PART.fullmatch(name):
            parts.setdefault(found["module"], {})[(found["kind"] or "") + found["side"]] = tensor
        elif "lora_" in name:
            raise ModelError(f"{weights}: tensor {name!r} is no part of plain LoRA; {REMEDY}")
        else:
            whole[name.replace(".base_layer.", ".").replace(".modules_to_save.", ".")] = tensor
    low_rank = {}
    for module, sides in parts.items():
        if sorted(sides) not in (["A", "B"], ["embedding_A", "embedding_B"]):
            raise ModelError(f"{weights}: module {module!r} has only {', '.join(sides)}; fetch it again")
        embedding = "embedding_A" in sides
        a, b = (sides[f"embedding_{side}" if embedding else side] for side in "AB")
        if a.ndim != 2 or b.ndim != 2 or not 0 < a.shape[0] == b.shape[1]:
            raise ModelError(
                f"{weights}: module {module!r} has A of shape {list(a.shape)} and B of {list(b.shape)}, which have no "
                "product; fetch it again"
            )
        low_rank[f"{module}.weight"] = (a, b, embedding)
    adapter = Adapter(folder, config, low_rank, whole, _alphas(path, config, list(parts)))
    _check(adapter, base)
    return adapter


def _alphas(path: Path, config: Mapping[str, Any], modules: list[str]) -> dict[str, float]:
    """Return alpha of the modules that the expressions of `alpha_pattern` match, the first that does, as in peft."""
    found: dict[str, float] = {}
    for pattern, alpha in (config.get("alpha_pattern") or {}).items():
        try:
            # peft runs them with Python's `re`, where one line can take hours.
            fits = matching(rf"^(.*\.)?({pattern})$", modules)
        except ValueError as error:
            raise ModelError(
                f"{path}: key 'alpha_pattern': {pattern!r} is no regular expression of RE2 ({error}); write names of "
                f"modules there, or {REMEDY}"
            ) from None
        found |= {m: float(alpha) for m, fit in zip(modules, fits, strict=True) if fit and m not in found}
    return found


def _check(adapter: Adapter, base: TensorFolder) -> None:
    """Refuse an adapter whose tensors do not fit the base."""
    named = adapter.config.get("base_model_name_or_path")
    remedy = f"give the base that it was trained on ({CONFIG} names {named!r})"
    known = set(base.names)
    shapes: list[tuple[str, tuple[int, ...]]] = []
    for name, (a, b, embedding) in adapter.low_rank.items():
        transposed = embedding or bool(adapter.config.get("fan_in_fan_out"))
        shapes.append((name, (a.shape[1], b.shape[0]) if transposed else (b.shape[0], a.shape[1])))
    shapes += [(name, tuple(tensor.shape)) for name, tensor in adapter.whole.items()]
    if not shapes:
        raise ModelError(f"{adapter.folder / WEIGHTS}: holds no tensors; fetch the adapter again")
    for name in adapter.whole.keys() - adapter.low_rank.keys():
        if "lm_head.weight" not in known and ("embed_tokens" in name or "lm_head" in name):
            raise ModelError(
                f"{adapter.folder / CONFIG}: key 'modules_to_save': {base.folder} ties its embeddings, so that "
                f"{name!r} cannot be replaced alone; {REMEDY}"
            )
    for name, shape in shapes:
        if name not in known:
            raise ModelError(f"{adapter.folder}: changes {name!r}, which {base.folder} does not have; {remedy}")
        if shape != base.shape(name):
            raise ModelError(
                f"{adapter.folder}: changes {name!r} of shape {list(shape)}, in {base.folder} it has "
                f"{list(base.shape(name))}; {remedy}; if its vocabulary was resized, {REMEDY}"
            )


def merge(base: Path, adapter: Path, out: Path) -> None:
    """Write the merged model into the new folder `out`, with the base's configuration.

    The tokenizer is the adapter's, if it has one.

    Raises ModelError as `read`, or when the base holds NaN or Inf.
    """
    source = open_tensors(base)
    found = read(adapter, source)
    kept = [name for name in source.names if source.dtype(name) in STORED_TYPES]
    specs = [TensorSpec(name, source.shape(name), STORED_TYPES[source.dtype(name)]) for name in kept]
    out.mkdir(parents=True)
    copy_matching(resolve(base), CONFIGURATION, out)
    copy_matching(adapter if (adapter / "tokenizer.json").is_file() else resolve(base), TOKENIZER, out)
    write_weights(out, specs, (found.merged(name, checked_tensor(source, name)) for name in kept))
    make_readable(out)
