"""The update of each matrix without its small singular values (DG-Hard, arXiv 2605.20296), one matrix in memory.

Of d = s - p, whose singular values are y, those below tau = omega(beta) median(y) are taken for noise, beta being the
ratio of the shorter side to the longer one. omega is the best threshold for a matrix in white noise of unknown size:
lambda(beta) / sqrt(mu(beta)), lambda^2 = 2 (beta + 1) + 8 beta / (beta + 1 + sqrt(beta^2 + 14 beta + 1)) and mu the
median of the Marchenko-Pastur distribution (Gavish and Donoho, IEEE Trans. Inf. Theory 2014, arXiv 1305.5870).

Singular values and vectors of the shorter side are those of d d^T, an eigenproblem in fp64 several times as fast as a
decomposition of d: what is kept is the projection of d onto the vectors that are kept.
"""

from functools import cache

import numpy as np
import torch
from torch import Tensor

from sftlens.restoration.apply import Method
from sftlens.restoration.pairs import Pair, Piece
from sftlens.restoration.wise_ft import rounded

POINTS = 1 << 16
"""Points at which the distribution is integrated."""


class Spectral(Method):
    """s' = s - k / 100 (d - kept part of d) in every matrix of the region; p + kept part at k = 100."""

    CARD = """\
# A fine-tuned model without the small singular values of its update

The matrices of the region `{region}`, {elements:,} parameters, went {ratio:g} % of the way to p + the part of s - p
whose singular values are above the threshold of Gavish and Donoho, p of the base model and s fine-tuned, rounded at
random where the fine-tuned model's type has 16 bits. Everything else is the fine-tuned model's. Nothing was trained
afterwards.

{models}
| region | `{region_cell}` |
{settings}
{identity} The method is DG-Hard (arXiv 2605.20296); the
model was made with sftlens, `sftlens restore --criterion spectral`.
"""

    def __init__(self, pair: Pair, ratio: float, seed: int = 0) -> None:
        """`ratio` is k, percent; `seed` is of rounding at random."""
        super().__init__(pair)
        self.ratio = ratio
        self.seed = seed
        self._inside = frozenset(name for name in pair.names if len(pair.finetuned.shape(name)) == 2)
        self._at_hand: tuple[str, Tensor] = "", torch.empty(0)

    @property
    def facts(self) -> dict[str, object]:
        """How many parameters the matrices have, and how far they went."""
        return {"elements": sum(map(self.pair.size, self._inside)), "ratio": self.ratio}

    def apply(self, piece: Piece) -> Tensor:
        """Return the piece of the matrix that it belongs to, which is decomposed when its first piece comes."""
        if not self.changes(piece.name):
            return piece.finetuned
        if self._at_hand[0] != piece.name:
            self._at_hand = "", torch.empty(0)  # not two of them at once
            s = self.pair.finetuned.get(piece.name).to(piece.finetuned.device)
            p = self.pair.base.get(piece.name).to(s.device).to(s.dtype)
            left = s.double() - (self.ratio / 100) * removed(s.double() - p.double())
            self._at_hand = piece.name, left.flatten()
        values = self._at_hand[1][piece.start : piece.start + len(piece.finetuned)]
        return rounded(values, piece.finetuned.dtype, self.seed, f"spectral {piece.name}", piece.start)


def removed(update: Tensor) -> Tensor:
    """Return the part of a matrix (fp64) whose singular values are below the threshold; same shape."""
    wide = update if update.shape[0] <= update.shape[1] else update.T
    squares, vectors = torch.linalg.eigh(wide @ wide.T)  # ascending
    values = squares.clamp_(min=0).sqrt_()
    middle = float((values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2)
    below = vectors[:, values < omega(wide.shape[0] / wide.shape[1]) * middle]
    part = below @ (below.T @ wide)
    return part if wide is update else part.T


@cache
def omega(beta: float) -> float:
    """Return the threshold for a matrix with sides in the ratio `beta`, in (0, 1], by its median singular value."""
    best = (2 * (beta + 1) + 8 * beta / (beta + 1 + np.sqrt(beta * beta + 14 * beta + 1))) ** 0.5
    low, high = (1 - beta**0.5) ** 2, (1 + beta**0.5) ** 2
    # With t = low + (high - low) sin^2 the density times dt has no poles; it is summed at the middles of the intervals.
    angles = np.linspace(0, np.pi / 2, POINTS)
    sine = np.sin((angles[:-1] + angles[1:]) / 2) ** 2
    mass = np.cumsum(sine * (1 - sine) / (low + (high - low) * sine))
    median = low + (high - low) * np.sin(np.interp(mass[-1] / 2, mass, angles[1:])) ** 2
    return float(best / np.sqrt(median))
