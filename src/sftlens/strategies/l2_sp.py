"""Decay of the weights towards the base model instead of towards zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from sftlens.errors import ConfigError
from sftlens.settings import Settings
from sftlens.strategies import STRATEGIES, Strategy

if TYPE_CHECKING:
    from torch import Tensor

    from sftlens.config.stages.training import FinetuneSettings


class L2SPSettings(Settings):
    """Settings of l2-sp: decay of the weights towards the base model."""

    decay: float = Field(1.0, ge=0)
    """Before each step a weight goes this share, times the learning rate, of its way back to the base model."""


class L2SP(Strategy):
    """Before each step: w <- w - learning rate x decay x (w - base).

    The source adds decay / 2 x |w - base|^2 to the loss of plain gradient descent. AdamW divides a gradient by its own
    size, which such a term would lose its meaning in, so that it acts on the weights directly, as AdamW's weight decay
    does (Loshchilov and Hutter, ICLR 2019, arXiv 1711.05101).
    """

    name = "l2-sp"
    description = "All parameters, with a decay towards the base model"
    reference = "Li, Grandvalet and Davoine, ICML 2018, arXiv 1802.01483"
    settings_class = L2SPSettings
    bytes_shared = 4.0

    def check(self, recipe: FinetuneSettings, train_set: str = "") -> None:
        """Raise ConfigError where a step would go beyond the base model."""
        if recipe.learning_rate * self.settings.decay > 1:
            raise ConfigError(
                f"strategies.l2-sp.decay: {self.settings.decay:g} times the learning rate {recipe.learning_rate:g} is "
                "above 1, so that a step would go beyond the base model; lower one of them"
            )

    def started(self, optimizer: Any, weights: Sequence[Tensor]) -> None:
        """Keep the values of the base, one more fp32 copy of this process' part, and pull to them at each step."""
        decay = self.settings.decay
        base = {id(weight): weight.detach().clone() for weight in weights if weight.requires_grad}

        def pull(optimizer: Any, args: object, kwargs: object) -> None:
            import torch

            with torch.no_grad():
                for group in optimizer.param_groups:
                    for weight in group["params"]:
                        weight.lerp_(base[id(weight)], group["lr"] * decay)

        optimizer.register_step_pre_hook(pull)


STRATEGIES.add(L2SP)
