"""The model is kept close to its base in what it says: KL divergence on the answer tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from sftlens.settings import Settings
from sftlens.strategies import STRATEGIES, Strategy

if TYPE_CHECKING:
    from torch import Tensor


class KLSettings(Settings):
    """Settings of kl: KL divergence to the base model on the answer tokens."""

    weight: float = Field(1.0, ge=0)
    """Factor of the mean divergence (nats per answer token) that is added to the loss."""


class KL(Strategy):
    """Loss of a token: -log p(token) + weight x KL(base || p), over the whole vocabulary, given the same tokens."""

    name = "kl"
    description = "All parameters, with the KL divergence from the base model on the answer tokens added to the loss"
    reference = "Li and Hoiem, Learning without Forgetting, ECCV 2016, arXiv 1606.09282"
    settings_class = KLSettings
    compared: ClassVar[Literal["", "base", "pilot"]] = "base"

    def loss(self, logits: Tensor, targets: Tensor, reference: Tensor) -> Tensor:
        """Return the sum over tokens of negative log-likelihood and weighted divergence."""
        import torch

        functional = torch.nn.functional
        nll = functional.cross_entropy(logits, targets, reduction="sum")
        ours, theirs = logits.log_softmax(-1), reference.log_softmax(-1)
        divergence = functional.kl_div(ours, theirs, reduction="sum", log_target=True)
        return nll + self.settings.weight * divergence


STRATEGIES.add(KL)
