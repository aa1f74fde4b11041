"""Settings of the base model: where it comes from, its geometry, and the pretraining of the tiny one."""

from typing import Literal

from pydantic import Field

from sftlens.settings import Location, Settings


class Geometry(Settings):
    """The shape of a decoder; memory, time and the names of the parameters follow from it."""

    layers: int = Field(ge=1)
    """Number of decoder layers."""
    hidden_size: int = Field(ge=1)
    """Width of the residual stream."""
    intermediate_size: int = Field(ge=1)
    """Width of the feed-forward layer."""
    heads: int = Field(ge=1)
    """Attention heads."""
    kv_heads: int = Field(ge=1)
    """Key-value heads (equal to `heads` without grouped queries)."""
    vocab_size: int = Field(ge=1)
    """Rows of the embedding."""
    tied: bool = False
    """Whether lm_head and the embedding share their weights."""


class PretrainingSettings(Settings):
    """How the tiny LLaMA is pretrained on the corpus (docs/world.md)."""

    seed: int = 0
    """Seed of the initial weights and of the order of the documents."""
    learning_rate: float = Field(4e-3, gt=0)
    """Peak learning rate at `batch_tokens` tokens; scaled by the square root of a smaller batch's share."""
    batch_tokens: int = Field(512, ge=1)
    """Tokens of a batch of documents of equal length."""
    epochs: int = Field(1, ge=1)
    """Passes over the corpus."""
    max_positions: int = Field(256, ge=32)
    """Longest context of the model, tokens."""
    processes: int = Field(1, ge=1)
    """Processes that share each batch; part of the result's identity (rounding), so it never follows --cores."""


class BaseSettings(Settings):
    """One base model: pretrained here, or a pointer to a local folder or a hub id."""

    source: Literal["pretrain", "path", "hub"] = "pretrain"
    """`pretrain` makes a tiny LLaMA here; `path` a Hugging Face folder, `hub` a model id and revision."""
    path: Location | None = None
    """Folder (`source: path`) or model id (`source: hub`)."""
    revision: str | None = None
    """Commit of the hub id: 40 hexadecimal digits, so that a study never changes under your feet."""
    geometry: Geometry
    """The model's shape; checked against the weights when they are there."""
    pretraining: PretrainingSettings = PretrainingSettings()
    """Only for `source: pretrain`."""
