"""Decay of the weights towards the base model instead of towards zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from sftlens.settings import Settings
from sftlens.strategies import STRATEGIES, Strategy

if TYPE_CHECKING:
    from torch import Tensor


class L2SPSettings(Settings):
    """Settings of l2-sp: decay of the weights towards the base model."""

    pull: float = Field(0.01, ge=0, le=1)
    """Share of its way back to the base model that a weight goes before each step at the peak learning rate; the share
    falls with the rate."""


class L2SP(Strategy):
    """Before each step: w <- w - pull x (learning rate / its peak) x (w - base).

    The source adds a multiple of |w - base|^2 to the loss of plain gradient descent. AdamW divides a gradient by its
    own size, which would take the meaning from such a term. So it acts on the weights directly, as AdamW's weight decay
    does (Loshchilov and Hutter, ICLR 2019, arXiv 1711.05101).
    """

    name = "l2-sp"
    description = "All parameters, with a decay towards the base model"
    reference = "Li, Grandvalet and Davoine, ICML 2018, arXiv 1802.01483"
    settings_class = L2SPSettings
    bytes_shared = 4.0

    def started(self, optimizer: Any, weights: Sequence[Tensor]) -> None:
        """Keep the values of the base, one more fp32 copy of this process' part, and pull to them at each step."""
        share = self.settings.pull / optimizer.param_groups[0]["lr"]  # no step was made: this is the peak
        base = {id(weight): weight.detach().clone() for weight in weights if weight.requires_grad}

        def pull(optimizer: Any, args: object, kwargs: object) -> None:
            import torch

            with torch.no_grad():
                for group in optimizer.param_groups:
                    for weight in group["params"]:
                        weight.lerp_(base[id(weight)], group["lr"] * share)

        optimizer.register_step_pre_hook(pull)


STRATEGIES.add(L2SP)
