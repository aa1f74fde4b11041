"""Hugging Face checkpoints: loading and checking models and tokenizers, writing them."""

import re
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch

from sftlens.config.stages.model import Geometry
from sftlens.errors import ModelError, SftlensError
from sftlens.files import atomic_path, make_readable
from sftlens.models.configuration import read_config, read_generation_config, said
from sftlens.models.delta.reader import open_tensors
from sftlens.models.identity import resolve
from sftlens.models.loading import computing, placement
from sftlens.models.loading.placement import STORED_TYPES, Outline, Pending, Slice, Transform, parameters, refuse_type
from sftlens.models.names import prefixed
from sftlens.models.safetensors_reader import TensorFolder
from sftlens.models.tokenizer import read_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_model(
    path: Path,
    *,
    dtype: torch.dtype | None = None,
    device: str | None = None,
    transform: Transform | None = None,
    compute: str = "stored",
    rounded: torch.dtype | None = None,
) -> "PreTrainedModel":
    """Load a causal language model for inference, checking every tensor.

    Args:
        path: Hugging Face folder or base.json pointer.
        dtype: type of the weights in memory; None: as `compute` says.
        device: torch device, or `auto`; None: what there is (`placement.device_map`).
        transform: called with each (name, stored tensor); its result is loaded instead of the tensor.
        compute: what the model computes in, where `dtype` is None: as `computing.choose` takes it.
        rounded: type that the weights are rounded to first; None: `own_type` where `compute` says another, else none.

    Returns the model in evaluation mode; `name_or_path` is its folder, for messages. Raises ModelError where a tensor
    is missing, extra, wrongly shaped or holds NaN or Inf, LaunchError where there is no such device.
    """
    folder = resolve(path)
    quieten()
    config = read_config(folder)
    source = open_tensors(folder)
    if not source.names:
        raise ModelError(f"{source.folder}: the checkpoint holds no tensors; fetch it again")
    own, where = own_type(config, source), placement.device_map(device)
    computed = dtype or computing.choose(compute, own, elements(source), on_cpu=where is None)
    by_layer = dtype is None and where is None and computing.by_layer(own, computed, elements(source))
    # A tensor of another type than its model's is the same in every type that the model may compute in.
    rounded = rounded or (own if dtype is None and computed != own else None)
    pending = Pending(source, transform, rounded)
    tensors = {name: Slice(pending, name) for name in parameters(source)}
    try:
        model, info = _filled(config, source, tensors, own if by_layer else computed, where)
    finally:
        pending.raise_fault()  # transformers turns an error of a tensor into one of its own
    refuse_mismatch(source, info)
    # transformers leaves the two apart when a checkpoint stores different values for what config.json ties.
    tied = model.config.tie_word_embeddings
    if tied and model.get_output_embeddings().weight is not model.get_input_embeddings().weight:
        refuse_untied(source)
    model.name_or_path = str(folder)
    read_generation_config(folder, model)
    if by_layer:
        computing.compute_by_layer(model)
    return model.eval()


def _filled(
    config: Any, source: TensorFolder, tensors: dict[str, Any], dtype: torch.dtype, device_map: Any
) -> tuple["PreTrainedModel", dict[str, Any]]:
    """Return a model that transformers has filled with `tensors`, and what it says of missing and unexpected ones."""
    kind = architecture(source.folder, config)
    try:
        model, info = kind.from_pretrained(
            None, config=config, state_dict=tensors, dtype=dtype, device_map=device_map, output_loading_info=True,
            ignore_mismatched_sizes=True,
        )  # fmt: skip
    except Exception as error:
        if isinstance(error, (SftlensError, OSError, MemoryError)) or "memory" in f"{type(error)} {error}".lower():
            raise
        if not isinstance(error, RuntimeError) or "conversion" not in str(error):
            raise ModelError(
                f"{source.folder}/config.json: transformers cannot build this model ({type(error).__name__}: "
                f"{said(error)}); fetch config.json and weights from the same revision"
            ) from None
        # Where tensors are put together into one (the experts of a block), transformers does not name the missing one.
        raise ModelError(
            f"{source.folder}: transformers cannot put the weights together as {kind.__name__} has them; a tensor is "
            "missing or of another shape than config.json says: fetch both from the same revision"
        ) from None
    return model, info


def own_type(config: Any, source: TensorFolder) -> torch.dtype:
    """Return the type of a model's weights: that of its config.json, as in transformers, else that of most elements."""
    if config.dtype in STORED_TYPES.values():
        return config.dtype
    counts: dict[str, int] = {}
    for name in source.names:
        kind = source.dtype(name)
        counts[kind] = counts.get(kind, 0) + prod(source.shape(name))
    return STORED_TYPES.get(max(counts, key=counts.__getitem__), torch.float32)


def elements(source: TensorFolder) -> int:
    """Return how many numbers a checkpoint holds."""
    return sum(prod(source.shape(name)) for name in source.names)


def chosen_type(path: Path, wanted: str, *, on_cpu: bool, own: str | None = None) -> tuple[torch.dtype, torch.dtype]:
    """Return the type of the weights of a model folder or pointer, or `own`, and the type that it computes in.

    Raises ModelError.
    """
    quieten()
    source = open_tensors(folder := resolve(path))
    stored = getattr(torch, own) if own else own_type(read_config(folder), source)
    return stored, computing.choose(wanted, stored, elements(source), on_cpu=on_cpu)


def architecture(folder: Path, config: Any) -> Any:
    """Return transformers' class of a causal language model for a configuration. Raises ModelError."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    )

    if getattr(config, "quantization_config", None):
        raise ModelError(
            f"{folder}/config.json: key 'quantization_config': quantised weights can be neither fine-tuned "
            "nor restored; point to the model in bfloat16 or float32"
        )
    if named := getattr(config, "transformers_weights", None):
        raise ModelError(
            f"{folder}/config.json: key 'transformers_weights' names {named!r} as the weights; call that file "
            "model.safetensors and take the key out"
        )
    if (folder / "adapter_config.json").is_file():
        # transformers would load the base that the adapter names, and the adapter onto it.
        raise ModelError(
            f"{folder}: holds an adapter beside the weights of a model, so that programs differ in what they load; "
            "keep the two in folders of their own"
        )
    # A model that also reads images (Qwen-VL) answers a text without one by its text decoder.
    for mapping in (MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING):
        if type(config) in mapping:
            return mapping[type(config)]
    raise ModelError(
        f"{folder}/config.json: model_type {config.model_type!r} has no causal language model in "
        "transformers; point the model to a decoder such as LLaMA, Qwen or Mistral"
    )


def check_weights(folder: Path) -> None:
    """Raise ModelError where a tensor of a model folder is missing, extra or of another shape than config.json says.

    No tensor is read.
    """
    quieten()
    config, source = read_config(folder), open_tensors(folder)
    for name in parameters(source):
        refuse_type(source, name)
    outlines = {name: Outline(source, name) for name in parameters(source)}
    _, info = _filled(config, source, outlines, own_type(config, source), {"": "meta"})
    refuse_mismatch(source, info)


def compare_weights(source: TensorFolder, model: "PreTrainedModel") -> None:
    """Raise ModelError where weight files do not fit a model, partitioned (ZeRO stage 3) or not; no tensor is read."""
    held = model.named_parameters(remove_duplicate=False)
    shapes = {name: tuple(getattr(parameter, "ds_shape", parameter.shape)) for name, parameter in held}
    ignored = model._keys_to_ignore_on_load_unexpected or ()
    unknown = [name for name in parameters(source) if name not in shapes]
    shared = [name for name in source.names if name in shapes]
    info = {
        "missing_keys": {name for name, _ in model.named_parameters()} - set(source.names),
        "unexpected_keys": [name for name in unknown if not any(re.search(pattern, name) for pattern in ignored)],
        "mismatched_keys": [
            (name, source.shape(name), shapes[name]) for name in shared if source.shape(name) != shapes[name]
        ],
    }
    refuse_mismatch(source, info)


def refuse_mismatch(source: TensorFolder, info: dict[str, Any]) -> None:
    """Raise ModelError for the first of `missing_keys`, `unexpected_keys` and `mismatched_keys` (as transformers')."""
    remedy = "the weights do not belong to this config.json: fetch both from the same revision"
    if info["missing_keys"]:
        name = min(info["missing_keys"])
        if prefix := prefixed(source.names, [name]):
            remedy = f"the weights have a prefix, {prefix!r}: save the model itself, without what it was wrapped in"
        raise ModelError(f"{source.folder}: tensor {name!r} is in none of the weight files; {remedy}")
    if info["unexpected_keys"]:
        name = min(info["unexpected_keys"])
        raise ModelError(f"{source.file(name)}: tensor {name!r} is unknown to the architecture; {remedy}")
    if info["mismatched_keys"]:
        name, found, wanted = min(info["mismatched_keys"])
        raise ModelError(
            f"{source.file(name)}: tensor {name!r} has shape {list(found)}, config.json asks for "
            f"{list(wanted)}; {remedy}"
        )


def refuse_untied(source: TensorFolder) -> NoReturn:
    """Raise the ModelError of weight files that hold two different tensors for what config.json ties."""
    raise ModelError(
        f"{source.folder}/config.json: tie_word_embeddings is true, but the weight files hold a "
        "different output embedding; set tie_word_embeddings to false, or take lm_head.weight out"
    )


def load_tokenizer(path: Path, bos: str = "require") -> "PreTrainedTokenizerBase":
    """Load the fast tokenizer of a Hugging Face folder or base.json pointer and check its special tokens.

    `bos`: `require` refuses a tokenizer without BOS; `none` runs without BOS (Qwen has none); `own` takes the
    tokenizer as it is. Raises ModelError on no fast tokenizer, no EOS, EOS put behind every text, no BOS although one
    is required, text that does not come back, or a token whose id lies outside the vocabulary of the model there.
    """
    folder = resolve(path)
    # transformers reads config.json, too, and what is wrong there is no fault of the tokenizer.
    rows = read_config(folder).get_text_config().vocab_size if (folder / "config.json").is_file() else None
    tokenizer = read_tokenizer(folder, rows)
    if not tokenizer.is_fast:
        raise ModelError(f"{folder}: the tokenizer is not a fast one, offsets are needed; add tokenizer.json")
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"{folder}: the tokenizer has no EOS token, so no answer could end; set eos_token in tokenizer_config.json"
        )
    if tokenizer("a")["input_ids"][-1:] == [tokenizer.eos_token_id]:
        raise ModelError(
            f"{folder}: the tokenizer ends every text with EOS, so nothing could be completed; set "
            "add_eos_token to false in tokenizer_config.json"
        )
    if bos == "none":
        tokenizer.bos_token = None
    elif bos == "require" and tokenizer.bos_token_id is None:
        raise ModelError(
            f"{folder}: the tokenizer has no BOS token; set `bos: none` for this model to do without one "
            "(by hand: --bos none), or bos_token in tokenizer_config.json"
        )
    return tokenizer


def save_model(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase | None", folder: Path) -> None:
    """Write model, configuration and tokenizer as a Hugging Face folder, atomically, readable for all."""
    quieten()
    with atomic_path(folder) as partial:
        model.save_pretrained(partial)
        if tokenizer is not None:
            tokenizer.save_pretrained(partial)
        make_readable(partial)


def quieten() -> None:
    """Turn off transformers' own bars and load reports: problems are raised, not printed."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def check_geometry(folder: Path, declared: dict[str, Any], model: str) -> None:
    """Refuse a folder whose config.json has another geometry than the configuration declares, or none that is known."""
    try:
        found = Geometry.of(read_config(folder).to_dict()).model_dump()
    except ValueError as error:
        raise ModelError(f"{folder}/config.json: {error}") from None
    for key, value in declared.items():
        if found.get(key) != value:
            raise ModelError(
                f"{folder}/config.json: {key} is {found.get(key)}, but models.{model}.geometry.{key} says "
                f"{value}; correct the configuration or point to the right model"
            )
