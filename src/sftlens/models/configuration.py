"""A model's config.json: what it may choose, and reading it with transformers; its generation settings."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from sftlens.errors import ModelError
from sftlens.files import read_json
from sftlens.gate import shaped
from sftlens.models.folders import refuse_pointer, resolve

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Size = Annotated[int, Field(ge=1, le=1 << 28)]
TypeName = Annotated[str, Field(pattern=r"^(bfloat16|float\d+\w*|half|double)$")]
"""What torch calls a type; neither `auto`, which is a way of loading, nor `torch.bfloat16`."""


@with_config(ConfigDict(extra="allow"))
class ModelConfig(TypedDict):
    """What a config.json may say: sizes within reason, and which of transformers' own implementations computes.

    transformers obeys other names, too: of packages that are not checked here, and of repositories with kernels.
    """

    model_type: NotRequired[str]
    num_hidden_layers: NotRequired[Annotated[int, Field(ge=1, le=1_000)]]
    hidden_size: NotRequired[Size]
    intermediate_size: NotRequired[Size | list[Size]]
    num_attention_heads: NotRequired[Size]
    num_key_value_heads: NotRequired[Size | None]
    head_dim: NotRequired[Size | None]
    vocab_size: NotRequired[Size]
    dtype: NotRequired[TypeName | dict[str, Any] | None]
    torch_dtype: NotRequired[TypeName | dict[str, Any] | None]
    max_position_embeddings: NotRequired[Annotated[int, Field(ge=1, le=1 << 40)]]
    num_experts: NotRequired[Annotated[int, Field(ge=0, le=1 << 16)] | None]
    num_local_experts: NotRequired[Annotated[int, Field(ge=0, le=1 << 16)] | None]
    attn_implementation: NotRequired[Literal["eager", "sdpa"] | None]
    experts_implementation: NotRequired[Literal["eager", "batched_mm", "grouped_mm"] | None]
    return_dict: NotRequired[Literal[True] | None]


MOST = 1_000
"""Layers, whatever an architecture calls their number: transformers makes each of them before it reads a weight."""
MOST_LABELS = 100_000

IMPLEMENTATIONS = {f"_{name}": name for name in ("attn_implementation", "experts_implementation")}
"""Other names of these keys."""

GENERATION = "generation_config.json"
TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")
"""The only settings that sftlens uses: it has its own way of decoding."""


def read_config(path: Path) -> Any:
    """Return the transformers configuration of a model folder. Raises ModelError when there is none."""
    from transformers.models.auto.configuration_auto import AutoConfig

    folder = resolve(path)
    if not (folder / "config.json").is_file() and (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"{folder}: is an adapter, no model; give it to sftlens check or repair after its base, or merge it with "
            "peft (merge_and_unload, save_pretrained) and give that folder"
        )
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: config.json is missing; give a complete Hugging Face folder")
    refuse_pointer(path := folder / "config.json")
    # What chooses an implementation, or holds sizes beyond reason, is refused before transformers obeys it.
    config = read_json(path, dict[str, Any], ModelError, finite=False)
    remedy = "correct the key, or take it out (transformers then chooses)"
    parts = {key: value for key, value in config.items() if key.endswith("_config") and value is not None}
    shaped(parts, dict[str, dict[str, Any]], path, ModelError, remedy)
    for part in (config, *parts.values()):
        for key, value in part.items():
            most = MOST_LABELS if key == "num_labels" else MOST
            if re.search("layers?$|num_labels", key) and isinstance(value, int) and value > most:
                raise ModelError(f"{path}: key '{key}' is {value}, more than {most:,}; {remedy}")
        shaped({IMPLEMENTATIONS.get(key, key): part[key] for key in part}, ModelConfig, path, ModelError, remedy)
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # of many classes: what a key holds is used before it is checked
        raise ModelError(
            f"{folder}/config.json: transformers cannot read it ({said(error)}); models that need "
            "their own code are not run: use an architecture that transformers ships"
        ) from None


def read_generation_config(folder: Path, model: "PreTrainedModel") -> None:
    """Give a model the generation settings that lie beside its weights, if there are any.

    Of settings that transformers would not load, or not save again beside a fine-tuned model, the token ids alone are
    taken; one line on stderr says so. Raises DataError or ModelError when the file is no JSON object.
    """
    from transformers import GenerationConfig

    path = folder / GENERATION
    if not path.is_file():
        return
    refuse_pointer(path)
    values = read_json(path)
    if not isinstance(values, dict):
        raise ModelError(f"{path}: is no JSON object; fetch it again, or delete it")
    for key in TOKENS:
        # A token id (-1 stands for none in old files); a model may end with one of several.
        listed = key == "eos_token_id" and isinstance(values.get(key), list)
        several = values[key] if listed else [values.get(key)]
        if values.get(key) is not None and any(type(one) is not int for one in several):
            raise ModelError(
                f"{path}: key {key!r} is {str(values[key])[:60]!r}, no token id; correct it or delete the file"
            )
    try:
        found = GenerationConfig.from_pretrained(folder)
        found.validate()
        found.to_json_string()
    except Exception as error:  # transformers raises what it likes: ValueError, OSError, TypeError, AttributeError ...
        reason = said(error)
        found = GenerationConfig(**{key: values[key] for key in TOKENS if key in values})
        print(
            f"{path}: transformers refuses these settings ({reason}); only its token ids are used "
            f"({', '.join(TOKENS)}): correct the file, or delete it",
            file=sys.stderr,
        )
    model.generation_config = found


def said(error: BaseException) -> str:
    """Return what an error of another library says, in one line; its class where it says nothing."""
    return " ".join(str(error).split())[:300] or type(error).__name__
