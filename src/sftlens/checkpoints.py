"""Hugging Face checkpoints: reading tensors one by one, loading and checking models, writing them."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open

from sftlens.errors import ModelError
from sftlens.files import atomic_path, read_json, sha256, write_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Transform = Callable[[str, torch.Tensor], torch.Tensor]
MANIFEST = "sftlens.json"
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


def resolve(path: Path) -> Path:
    """Return the Hugging Face folder behind `path`: the folder itself, or what a base.json pointer names."""
    if path.is_dir():
        return path
    if path.suffix == ".json" and path.is_file():
        folder = Path(read_json(path)["path"])
        target = folder if folder.is_absolute() else (path.parent / folder)
        if target.is_dir():
            return target
        raise ModelError(f"{path}: key 'path' names {target}, which does not exist; restore it or rerun the base stage")
    raise ModelError(f"{path}: no such model folder; give a Hugging Face folder with config.json and *.safetensors")


def weight_files(folder: Path) -> list[Path]:
    """Return a checkpoint's safetensors files in checkpoint order. Raises ModelError when there are none."""
    if (folder / INDEX).is_file():
        index = read_json(folder / INDEX)
        names = list(dict.fromkeys(index["weight_map"].values()))
    else:
        names = [SINGLE]
    for name in names:
        if not (folder / name).is_file():
            raise ModelError(
                f"{folder}: weight file {name!r} is missing; fetch the complete checkpoint in safetensors "
                "format (pickle files such as pytorch_model.bin are not read: convert them first)"
            )
    return [folder / name for name in sorted(names)]


class TensorFolder:
    """The tensors of a checkpoint, read lazily, in checkpoint order (file by file, as stored)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files = {}
        for path in weight_files(folder):
            try:
                handle = safe_open(path, framework="pt")
            except (SafetensorError, OSError) as error:
                raise ModelError(
                    f"{path}: not a readable safetensors file ({error}); it is truncated or damaged: fetch it again"
                ) from None
            for name in handle.keys():  # noqa: SIM118 - not a dict
                self._files[name] = handle

    @property
    def names(self) -> list[str]:
        """Names of the tensors in checkpoint order."""
        return list(self._files)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor."""
        return tuple(self._files[name].get_slice(name).get_shape())

    def dtype(self, name: str) -> str:
        """Stored type of one tensor in safetensors' words, such as BF16."""
        return str(self._files[name].get_slice(name).get_dtype())

    def get(self, name: str) -> torch.Tensor:
        """Return one tensor as stored."""
        return self._files[name].get_tensor(name)

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        return ((name, self.get(name)) for name in self.names)


def open_tensors(path: Path) -> TensorFolder:
    """Open the tensors of a model folder or pointer. Raises ModelError on missing or damaged files."""
    return TensorFolder(resolve(path))


def read_config(path: Path) -> Any:
    """Return the transformers configuration of a model folder. Raises ModelError when there is none."""
    from transformers import AutoConfig

    folder = resolve(path)
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: config.json is missing; give a complete Hugging Face folder")
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, OSError, KeyError) as error:
        raise ModelError(
            f"{folder}/config.json: transformers cannot read it ({_first_line(error)}); models that need "
            "their own code are not run: use an architecture that transformers ships"
        ) from None


def load_model(
    path: Path,
    *,
    dtype: torch.dtype | None = None,
    device: str = "cpu",
    transform: Transform | None = None,
) -> "PreTrainedModel":
    """Load a causal language model for inference, checking every tensor.

    Args:
        path: Hugging Face folder or base.json pointer.
        dtype: type of the weights in memory; None keeps the stored one.
        device: torch device.
        transform: called with each (name, stored tensor); its result is loaded in the tensor's place.

    Raises:
        ModelError: a tensor is missing, extra, wrongly shaped or holds NaN or Inf.
    """
    folder = resolve(path)
    quieten()
    config = read_config(folder)
    tensors = _checked_tensors(TensorFolder(folder), transform)
    stored = next(iter(tensors.values())).dtype
    model, info = _architecture(config).from_pretrained(
        None,
        config=config,
        state_dict=tensors,
        dtype=dtype or stored,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )
    _refuse_mismatch(folder, info)
    if (folder / "generation_config.json").is_file():
        from transformers import GenerationConfig

        model.generation_config = GenerationConfig.from_pretrained(folder)
    return model.to(device).eval()


def _architecture(config: Any) -> Any:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    try:
        return MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    except KeyError:
        raise ModelError(
            f"config.json: model_type {config.model_type!r} has no causal language model in transformers; "
            "point the model to a decoder such as LLaMA, Qwen or Mistral"
        ) from None


def _checked_tensors(source: TensorFolder, transform: Transform | None) -> dict[str, torch.Tensor]:
    tensors = {}
    for name, tensor in source:
        # A sum is finite unless an element is not (or the sum overflows: then look at each element).
        if tensor.is_floating_point() and not bool(tensor.float().sum().isfinite()):
            if not bool(tensor.isfinite().all()):
                raise ModelError(
                    f"{source.folder}: tensor {name!r} holds NaN or Inf; the checkpoint is damaged or training diverged: "
                    "fetch it again or train with a lower learning rate"
                )
        tensors[name] = transform(name, tensor) if transform else tensor
    if not tensors:
        raise ModelError(f"{source.folder}: the checkpoint holds no tensors; fetch it again")
    return tensors


def _refuse_mismatch(folder: Path, info: dict[str, Any]) -> None:
    remedy = "the weights do not belong to this config.json: fetch both from the same revision"
    if info["missing_keys"]:
        raise ModelError(f"{folder}: tensor {min(info['missing_keys'])!r} is missing; {remedy}")
    if info["unexpected_keys"]:
        raise ModelError(f"{folder}: tensor {min(info['unexpected_keys'])!r} is unknown to the architecture; {remedy}")
    if info["mismatched_keys"]:
        name, found, wanted = min(info["mismatched_keys"])
        raise ModelError(
            f"{folder}: tensor {name!r} has shape {list(found)}, config.json asks for {list(wanted)}; {remedy}"
        )


def load_tokenizer(path: Path, bos: str = "require") -> "PreTrainedTokenizerBase":
    """Load a fast tokenizer and check its special tokens.

    Args:
        path: Hugging Face folder or base.json pointer.
        bos: `require` refuses a tokenizer without BOS; `none` runs without BOS (Qwen has none).

    Raises:
        ModelError: no fast tokenizer, no EOS, or no BOS although one is required.
    """
    from transformers import AutoTokenizer

    folder = resolve(path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, OSError, KeyError, ImportError) as error:
        raise ModelError(f"{folder}: no usable tokenizer ({_first_line(error)}); put tokenizer.json there") from None
    if not tokenizer.is_fast:
        raise ModelError(f"{folder}: the tokenizer is not a fast one, offsets are needed; add tokenizer.json")
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"{folder}: the tokenizer has no EOS token, so no answer could end; set eos_token in tokenizer_config.json"
        )
    if bos == "none":
        tokenizer.bos_token = None
    elif tokenizer.bos_token_id is None:
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


def make_readable(folder: Path) -> None:
    """Give every file of a folder the ordinary mode; safetensors writes 0600."""
    mask = os.umask(0)
    os.umask(mask)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o666 & ~mask)


def describe(folder: Path) -> dict[str, dict[str, Any]]:
    """Return size (bytes) and SHA-256 of each file of a checkpoint, by name."""
    paths = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    return {p.name: {"bytes": p.stat().st_size, "sha256": sha256(p)} for p in paths}


def write_manifest(folder: Path) -> dict[str, Any]:
    """Record each file's size and hash in the folder itself, so that nobody need hash the weights again."""
    described = describe(folder)
    write_json(folder / MANIFEST, {"files": described})
    return described


def identity(path: Path) -> str:
    """Return a content hash of the model behind a folder or pointer, from its record of hashes if it has one."""
    record = path if path.is_file() else path / MANIFEST
    files = read_json(record)["files"] if record.is_file() else describe(resolve(path))
    hashes = {name: entry["sha256"] for name, entry in files.items() if name != MANIFEST}
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


def declared_geometry(config: Any) -> dict[str, Any]:
    """Return the geometry of a transformers configuration in the words of `models.<m>.geometry`."""
    return {
        "layers": config.num_hidden_layers,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "heads": config.num_attention_heads,
        "kv_heads": getattr(config, "num_key_value_heads", None) or config.num_attention_heads,
        "vocab_size": config.vocab_size,
        "tied": bool(config.tie_word_embeddings),
    }


def check_geometry(folder: Path, declared: dict[str, Any], model: str) -> None:
    """Refuse a folder whose config.json contradicts the geometry that the configuration declares."""
    found = declared_geometry(read_config(folder))
    for key, value in declared.items():
        if found[key] != value:
            raise ModelError(
                f"{folder}/config.json: {key} is {found[key]}, but models.{model}.geometry.{key} says {value}; "
                "correct the configuration or point to the right model"
            )


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


