"""A model's config.json: what it may choose, and reading it with transformers."""

from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from sftlens.errors import ModelError
from sftlens.files import read_json
from sftlens.gate import shaped
from sftlens.models.identity import refuse_pointer, resolve

Size = Annotated[int, Field(ge=1, le=1 << 28)]


@with_config(ConfigDict(extra="allow"))
class ModelConfig(TypedDict):
    """What a config.json may say: sizes within reason, and which of transformers' own implementations computes.

    transformers obeys other names, too: of packages that are not checked here, and of repositories with kernels.
    """

    model_type: NotRequired[str]
    num_hidden_layers: NotRequired[Annotated[int, Field(ge=1, le=10_000)]]
    hidden_size: NotRequired[Size]
    intermediate_size: NotRequired[Size | list[Size]]
    num_attention_heads: NotRequired[Size]
    num_key_value_heads: NotRequired[Size | None]
    head_dim: NotRequired[Size | None]
    vocab_size: NotRequired[Size]
    max_position_embeddings: NotRequired[Annotated[int, Field(ge=1, le=1 << 40)]]
    num_experts: NotRequired[Annotated[int, Field(ge=0, le=1 << 16)] | None]
    num_local_experts: NotRequired[Annotated[int, Field(ge=0, le=1 << 16)] | None]
    attn_implementation: NotRequired[Literal["eager", "sdpa"] | None]
    experts_implementation: NotRequired[Literal["eager", "batched_mm", "grouped_mm"] | None]


IMPLEMENTATIONS = {f"_{name}": name for name in ("attn_implementation", "experts_implementation")}
"""Other names of these keys."""


def read_config(path: Path) -> Any:
    """Return the transformers configuration of a model folder. Raises ModelError when there is none."""
    from transformers.models.auto.configuration_auto import AutoConfig

    folder = resolve(path)
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: config.json is missing; give a complete Hugging Face folder")
    refuse_pointer(folder / "config.json")
    refuse_choices(folder / "config.json")
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # of many classes: what a key holds is used before it is checked
        raise ModelError(
            f"{folder}/config.json: transformers cannot read it ({said(error)}); models that need "
            "their own code are not run: use an architecture that transformers ships"
        ) from None


def refuse_choices(path: Path) -> None:
    """Raise ModelError, DataError for a config.json that chooses what `ModelConfig` does not know."""
    config = read_json(path, dict[str, Any], ModelError, finite=False)
    remedy = "correct the key, or take it out (transformers then chooses)"
    parts = {key: value for key, value in config.items() if key.endswith("_config") and value is not None}
    shaped(parts, dict[str, dict[str, Any]], path, ModelError, remedy)
    for part in (config, *parts.values()):
        named = {IMPLEMENTATIONS.get(key, key): value for key, value in part.items()}
        shaped(named, ModelConfig, path, ModelError, remedy)


def said(error: BaseException) -> str:
    """Return what an error of another library says, in one line; its class where it says nothing."""
    return " ".join(str(error).split())[:300] or type(error).__name__
