"""Uniform interpolation towards the base, a control: whether it matters which elements are restored, or how much.

s' = p + alpha (s - p) over the whole region. Restoring the first k % of an order undoes a share of sum (s - p)^2;
alpha = sqrt(1 - share) leaves as much of it, for sum (s' - p)^2 = alpha^2 sum (s - p)^2. Interpolating between a
fine-tuned model and its base is WiSE-FT (Wortsman et al., CVPR 2022, arXiv 2109.01903).
"""

from math import sqrt

import torch
from torch import Tensor

from sftlens.restoration.application import Method
from sftlens.restoration.pairs import Pair, Piece
from sftlens.restoration.undone import Undone

NAME = "shrink"
"""What stands in the place of an order."""
EQUAL_TO = "relative"
"""The order whose share of sum (s - p)^2 is undone at each ratio: the paper's."""


def factor(undone: Undone) -> float:
    """Return the alpha that undoes as much of sum (s - p)^2; 1 where nothing changed."""
    return sqrt(max(0.0, 1 - undone.sum_d2))


class Shrinker(Method):
    """Moves every element towards p. The result is rounded to the fine-tuned model's dtype.

    Rounded to a short type such as bfloat16, a change of one unit in the last place stays whole for alpha > 1/2 and
    goes for alpha < 1/2. How much was undone must therefore be measured (`undone.measure`).
    """

    def __init__(self, pair: Pair, alpha: float) -> None:
        """`alpha` in [0, 1]: 1 gives the fine-tuned model, 0 the base in the region, both bit for bit."""
        super().__init__(pair)
        self.alpha = alpha

    def apply(self, piece: Piece) -> Tensor:
        """Return p + alpha (s - p), computed in fp64."""
        if self.alpha == 0:
            return piece.base
        if self.alpha == 1:
            return piece.finetuned
        return torch.lerp(piece.base.double(), piece.finetuned.double(), self.alpha).to(piece.finetuned.dtype)
