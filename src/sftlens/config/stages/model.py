"""Settings of the base model: where it comes from, its geometry, its pretraining, and where its jobs run."""

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from sftlens.errors import DataError
from sftlens.files import read_json
from sftlens.settings import Location, Seed, Settings

NAMES = {
    "layers": "num_hidden_layers",
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "heads": "num_attention_heads",
    "vocab_size": "vocab_size",
}
"""What config.json calls the fields of a geometry that every model has."""
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")
"""Keys of config.json by which a mixture of experts is known."""
FLAWED = "flawed.parquet"
"""Of a model that is pretrained here, beside its pointer: what the corpus states falsely (`pretraining.flawed`)."""


ComputeType = Literal["auto", "stored", "bfloat16", "float32"]
"""What a model computes in: `stored` is the type of its weights, `auto` too, but float32 on a CPU where that is faster
or, with a small model, as fast."""
CONVERTED_WHOLE = 250_000_000
"""Up to so many parameters a model that computes in float32 is converted whole, half a gigabyte more; a larger one
layer by layer."""


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
    head_dim: int | None = Field(None, ge=1, exclude_if=lambda value: value is None)
    """Width of a head (Qwen3, Mistral NeMo); unset: `hidden_size` divided by `heads`."""
    attention_bias: Literal["none", "qkv", "all"] = Field("none", exclude_if=lambda value: value == "none")
    """Projections of the attention that have a bias: `none` (LLaMA, Mistral, Qwen3), `qkv` (Qwen2), or `all`."""
    qk_norms: bool = Field(False, exclude_if=lambda value: not value)
    """Whether queries and keys are normalised (Qwen3)."""

    @property
    def head_width(self) -> int:
        """Elements of one head's query, key or value."""
        return self.head_dim or self.hidden_size // self.heads

    @property
    def parameters(self) -> int:
        """The number of parameters of a decoder, exactly: LLaMA, Mistral, Qwen2, Qwen3."""
        hidden, queries = self.hidden_size, self.heads * self.head_width
        cached = 2 * self.kv_heads * self.head_width
        attention = hidden * (2 * queries + cached)
        biases = {"none": 0, "qkv": queries + cached, "all": queries + cached + hidden}[self.attention_bias]
        norms = 2 * hidden + (2 * self.head_width if self.qk_norms else 0)
        layer = attention + biases + 3 * hidden * self.intermediate_size + norms
        embeddings = (1 if self.tied else 2) * self.vocab_size * hidden
        return self.layers * layer + embeddings + hidden

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """Return the geometry that the values of a config.json describe. Raises ValueError for a missing key."""
        kind = config.get("model_type")
        for key in NAMES.values():
            if config.get(key) is None:
                raise ValueError(
                    f"model_type {kind!r} has no key {key!r}, so its geometry is not known; point to a decoder whose "
                    "configuration has LLaMA's names: LLaMA, Qwen2, Qwen3 or Mistral"
                )
        for key in EXPERTS:
            if config.get(key):
                raise ValueError(
                    f"key {key!r}: {kind!r} is a mixture of experts, and what its jobs need is not known, so that it "
                    "can be no part of a study; the programs take it by hand (sftlens check, repair, finetune)"
                )
        values: dict[str, Any] = {field: config[key] for field, key in NAMES.items()}
        width = config.get("head_dim")
        return cls(
            **values,
            kv_heads=config.get("num_key_value_heads") or values["heads"],
            tied=bool(config.get("tie_word_embeddings", False)),
            head_dim=width if width and width * values["heads"] != values["hidden_size"] else None,
            attention_bias="qkv" if kind == "qwen2" else "all" if config.get("attention_bias") else "none",
            qk_norms=kind == "qwen3",
        )


class PretrainingSettings(Settings):
    """How the tiny LLaMA is pretrained on the corpus (docs/world.md)."""

    seed: Seed = 0
    """Seed of the initial weights and of the order of the documents."""
    learning_rate: float = Field(4e-3, gt=0)
    """Peak learning rate at `batch_tokens` tokens; scaled by the square root of a smaller batch's share."""
    batch_tokens: int = Field(512, ge=1)
    """Tokens of a batch of documents of equal length."""
    epochs: int = Field(1, ge=1)
    """Passes over the corpus."""
    max_positions: int = Field(256, ge=32)
    """Longest context of the model, tokens."""
    flawed: float = Field(0, ge=0, lt=100, exclude_if=lambda value: not value)
    """Percent of the facts that the corpus states, and states falsely to this model: always with the same other object
    (docs/world.md). Its mastery is measured by what it was taught."""
    processes: int = Field(1, ge=1)
    """Processes that share each batch; part of the result's identity (rounding), so it never follows --cores."""


class BaseSettings(Settings):
    """One base model: pretrained here, or a pointer to a local folder or a hub id."""

    source: Literal["pretrain", "path", "hub"] = "pretrain"
    """`pretrain` makes a tiny LLaMA here; `path` a Hugging Face folder, `hub` a model id and revision."""
    path: Location | None = None
    """Folder or .gguf file (`source: path`), or model id (`source: hub`)."""
    revision: str | None = None
    """Of the hub id: a commit (40 hexadecimal digits), so that a study never changes under your feet; or a branch or
    tag, whose commit is printed and recorded when the model is fetched."""
    geometry: Geometry | None = None
    """The model's shape. Needed for `source: pretrain`, and to plan where the model's config.json is not there yet."""
    pretraining: PretrainingSettings = PretrainingSettings()
    """Only for `source: pretrain`."""

    @model_validator(mode="after")
    def _sourced(self) -> Self:
        if self.source == "pretrain" and self.path:
            raise ValueError("`source: pretrain` makes the model here and takes no `path`; set source: path or hub")
        if self.source != "pretrain" and not self.path:
            raise ValueError(f"`source: {self.source}` needs `path`: a folder, or a model id on the hub")
        if self.source == "hub" and not self.revision:
            raise ValueError("`source: hub` needs `revision`: a commit (40 hexadecimal digits), a branch or a tag")
        if self.source == "pretrain" and self.geometry is None:
            raise ValueError("`source: pretrain` makes the model here and needs its `geometry`; add it")
        return self

    @cached_property
    def shape(self) -> Geometry:
        """The geometry in the model's config.json where that is on this machine, else the one that is declared.

        Raises ValueError where there is neither, where config.json cannot be read, or where the two differ.
        """
        path = self._config_file()
        if not path or not path.is_file():
            if self.geometry is None:
                missing = f": {path} is not there" if path else f" for `source: {self.source}`"
                missing = ": a GGUF file has no config.json" if self._gguf else missing
                raise ValueError(f"key 'geometry' is needed{missing}; fetch the model, or write its geometry")
            return self.geometry
        try:
            found = Geometry.of(read_json(path, dict[str, Any], finite=False))
        except ValidationError as error:
            first = error.errors()[0]
            key = NAMES.get(str(first["loc"][0]), first["loc"][0])
            raise ValueError(f"{path}: key '{key}' is {first['input']!r:.60}: {first['msg']}") from None
        except DataError as error:
            raise ValueError(str(error)) from None
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        for key, value in self.geometry.model_dump().items() if self.geometry else ():
            if getattr(found, key) != value:
                raise ValueError(
                    f"geometry.{key} is {value}, but {path} says {getattr(found, key)}; take `geometry` out"
                )
        return found

    @property
    def _gguf(self) -> bool:
        return self.source == "path" and (self.path or "").endswith(".gguf")

    def _config_file(self) -> Path | None:
        """Where the model's config.json is, or will be once it is fetched; None for a model that is made here."""
        if self.source == "pretrain" or self._gguf:
            return None
        if self.source == "path":
            return Path(self.path or "") / "config.json"
        home = os.environ.get("HF_HOME") or Path(
            os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "huggingface"
        )
        cache = os.environ.get("HF_HUB_CACHE") or Path(home, "hub")
        folder = f"models--{(self.path or '').replace('/', '--')}"
        reference = Path(cache, folder, "refs", self.revision or "")
        commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else self.revision or ""
        return Path(cache, folder, "snapshots", commit, "config.json")


class Launch(Settings):
    """Where the jobs of a model run: the nodes, GPUs and processes of its training; the rest follows from them."""

    nodes: int = Field(1, ge=1)
    """Nodes of one training run; more than one needs Slurm (`snakemake --profile slurm`)."""
    gpus_per_node: int = Field(0, ge=0)
    """GPUs of each of these nodes; 0: all jobs of the model run on CPUs."""
    processes: int | None = Field(None, ge=1)
    """Processes of each of these nodes (gloo on CPUs, NCCL on GPUs); unset: one for each GPU, or one."""
    cpus_per_process: int = Field(1, ge=1)
    """CPUs that a process asks Slurm for; without GPUs also the numeric threads of training, part of its identity."""
    gpu_memory_gb: int = Field(80, ge=1)
    """Memory of one GPU: how many GPUs the jobs need that only measure a model."""
    longest_minutes: int = Field(1440, ge=30)
    """Most minutes that one try of training or probing asks for; it goes on in the next try (`--retries`)."""

    @model_validator(mode="after")
    def _one_process_a_gpu(self) -> Self:
        if self.gpus_per_node and self.processes not in (None, self.gpus_per_node):
            raise ValueError(
                f"processes {self.processes} and gpus_per_node {self.gpus_per_node} differ, but every process drives "
                "one GPU; take one of the two keys out"
            )
        return self

    @property
    def processes_per_node(self) -> int:
        """Processes of each node."""
        return self.processes or self.gpus_per_node or 1

    @property
    def cpus(self) -> int:
        """CPUs of each node of one training run."""
        return self.processes_per_node * self.cpus_per_process

    @property
    def world_size(self) -> int:
        """Processes of one training run."""
        return self.nodes * self.processes_per_node
