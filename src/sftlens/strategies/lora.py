"""Low-rank adapters are trained, and merged into the base once they are."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from sftlens.errors import ConfigError
from sftlens.settings import Settings
from sftlens.strategies import STRATEGIES, Strategy

if TYPE_CHECKING:
    from torch import Tensor, nn

PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class LoraSettings(Settings):
    """Settings of lora: low-rank adapters."""

    rank: int = Field(16, ge=1)
    """Rank r of each adapter."""
    alpha: float = Field(32.0, gt=0)
    """The change of a weight is alpha / r times the product of the adapter's two matrices."""
    modules: list[str] = Field(PROJECTIONS, min_length=1)
    """Linear layers that get one, by the last part of their names."""


class Lora(Strategy):
    """W' = W + alpha / r B A; A is drawn by the run's seed, B is 0 at first, and only they are trained.

    The checkpoint holds W', as peft's `merge_and_unload` makes it; peft's own folder of the adapter lies inside of it.
    """

    name = "lora"
    description = "Low-rank adapters are trained and merged into the base; the adapter is kept in CHECKPOINT/adapter"
    reference = "Hu et al., ICLR 2022, arXiv 2106.09685"
    settings_class = LoraSettings

    def prepare(self, model: nn.Module) -> None:
        """Put the adapters into the model. Raises ConfigError for layers that there are not, or that are tied."""
        import torch

        linear = [n.rpartition(".")[2] for n, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)]
        for wanted in self.settings.modules:
            key = f"strategies.lora.modules: {wanted!r}"
            if getattr(model.config, "tie_word_embeddings", False) and wanted in ("lm_head", "embed_tokens"):
                raise ConfigError(
                    f"{key}: {self.given.get('model', 'the model')} ties its input and output embeddings, so that "
                    "an adapter of one would change both when it is merged; take it out"
                )
            if wanted not in linear:
                near = difflib.get_close_matches(wanted, linear, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"choose among {', '.join(dict.fromkeys(linear))}"
                raise ConfigError(f"{key}: the model has no linear layer of this name; {hint}")

        import peft

        config = peft.LoraConfig(
            r=self.settings.rank,
            lora_alpha=self.settings.alpha,
            target_modules=self.settings.modules,
            task_type="CAUSAL_LM",
        )
        with torch.random.fork_rng(devices=[]):  # drawn on the CPU, the same in every process
            torch.manual_seed(self.seed)
            peft.inject_adapter_in_model(config, model)
        self._config = config

    def trained(self, model: nn.Module) -> None:
        """Take the adapters out of the model and keep their matrices, small tensors, in every process."""
        import deepspeed
        from peft.tuners.lora import LoraLayer

        self._matrices: dict[str, tuple[Tensor, Tensor]] = {}
        layers: list[tuple[str, Any]] = [(n, m) for n, m in model.named_modules() if isinstance(m, LoraLayer)]
        for name, layer in layers:
            a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
            with deepspeed.zero.GatheredParameters([a, b]):
                self._matrices[name] = (a.detach().clone(), b.detach().clone())
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, layer.get_base_layer())

    def finished(self, name: str, weight: Tensor) -> Tensor:
        """Return W + alpha / r B A, computed in fp32 and rounded to the type of `weight`."""
        if (module := name.removesuffix(".weight")) not in self._matrices:
            return weight
        a, b = self._matrices[module]
        change = (b.float() @ a.float()) * (self.settings.alpha / self.settings.rank)
        return (weight.float() + change).to(weight.dtype)

    def save(self, folder: Path) -> None:
        """Write the adapter as peft does: adapter_config.json and adapter_model.safetensors."""
        from sftlens import files
        from sftlens.models.adapter_config import CONFIG
        from sftlens.models.adapters import WEIGHTS
        from sftlens.models.delta.packing import ADAPTER
        from sftlens.models.safetensors_writer import TensorSpec, write_file

        (folder / ADAPTER).mkdir()
        told: dict[str, Any] = {**self._config.to_dict(), "inference_mode": True}
        # peft has sets in it, whose order is another in every process.
        told = {name: sorted(value) if isinstance(value, set) else value for name, value in told.items()}
        files.write_json(folder / ADAPTER / CONFIG, told)
        parts = {
            f"base_model.model.{module}.lora_{side}.weight": matrix.cpu()
            for module, matrices in sorted(self._matrices.items())
            for side, matrix in zip("AB", matrices, strict=True)
        }
        specs = [TensorSpec(name, tuple(matrix.shape), matrix.dtype) for name, matrix in parts.items()]
        write_file(folder / ADAPTER / WEIGHTS, specs, parts.values(), {"format": "pt"})


STRATEGIES.add(Lora)
