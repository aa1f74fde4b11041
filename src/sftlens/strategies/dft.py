"""Dynamic fine-tuning: each answer token's loss is weighted by the probability that the model gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sftlens.strategies import STRATEGIES, Strategy

if TYPE_CHECKING:
    from torch import Tensor


class DFT(Strategy):
    """Loss of a token: -p log p, the factor p without a gradient (arXiv 2508.05629, section 3)."""

    name = "dft"
    description = "All parameters; each answer token's loss is weighted by the model's own probability of it"
    reference = "Wu et al., 2025, arXiv 2508.05629"

    def loss(self, logits: Tensor, targets: Tensor, reference: Tensor) -> Tensor:
        """Return the sum over tokens of probability (a constant) times negative log-likelihood."""
        import torch

        nll = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        return (nll.detach().neg().exp() * nll).sum()


STRATEGIES.add(DFT)
