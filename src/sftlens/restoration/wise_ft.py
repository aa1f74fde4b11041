"""Interpolation towards the base: uniform, a control (does it matter which elements are restored, or how much?), or of
queries and keys alone.

s' = p + alpha (s - p) over the whole region. Restoring the first k % by a criterion reverts a share of sum (s - p)^2,
and alpha is such that as much of it is reverted here: sqrt(1 - share) where numbers are not rounded, for
sum (s' - p)^2 = alpha^2 sum (s - p)^2. Interpolating between a fine-tuned model and its base is WiSE-FT (Wortsman et
al., CVPR 2022, arXiv 2109.01903).

In 16 bits most changes are few units in the last place, and an interpolated value rounded to the nearest would often be
s again, whatever alpha. So it is rounded up or down at random, with chances that keep its mean (Gupta et al., "Deep
learning with limited numerical precision", ICML 2015, arXiv 1502.02551); this adds to the sum, and alpha is less.
"""

import torch
from torch import Tensor

from sftlens.errors import ModelError
from sftlens.restoration.apply import Method, Reverted
from sftlens.restoration.methods import METHODS
from sftlens.restoration.pairs import Pair, Piece
from sftlens.restoration.ranking import KEY_BITS, hashed
from sftlens.restoration.regions import rule

SHORT = (torch.bfloat16, torch.float16)
"""Types that are rounded to at random."""
LARGE = 1 << 28
"""Elements of a region beyond which its sample is thinned when alpha is looked for."""
HALVINGS = 16
ROUTING = "query_key"
"""The region of what routes attention."""


class Interpolation(Method):
    """Moves every element towards p. How much was reverted is to be measured (`apply.reverted`)."""

    CARD = """\
# A fine-tuned model moved uniformly towards its base

All {elements:,} parameters of the region `{region}` are p + alpha (s - p), p of the base model and s fine-tuned,
rounded at random where the fine-tuned model's type has 16 bits. Everything else is the fine-tuned model's. Nothing
was trained afterwards.

{models}
| region | `{region_cell}` |
| alpha | {alpha:.6f} |
| chosen so that | as much of sum (s - p)^2 is reverted as by {description} |
{settings}
{identity} The model was made with sftlens,
`sftlens restore`.
"""

    def __init__(self, pair: Pair, alpha: float, seed: int = 0, ratio: float = 0, matched: str = "") -> None:
        """`alpha` in [0, 1]: 1 gives the fine-tuned model, 0 the base in the region, both bit for bit.

        `seed` is of rounding at random, which depends on an element's tensor and index alone; `ratio`,
        percent, is the k of what `alpha` was matched to, which `matched` names in words.
        """
        super().__init__(pair)
        self.alpha = alpha
        self.seed = seed
        self.ratio = ratio
        self.description = matched or f"restoring {ratio:g} % by `relative`"
        self.stream = METHODS.get("interpolation").stream

    @property
    def facts(self) -> dict[str, object]:
        """Alpha."""
        return {"elements": self.pair.elements(), "alpha": self.alpha, "ratio": self.ratio}

    def apply(self, piece: Piece) -> Tensor:
        """Return p + alpha (s - p), computed in fp64."""
        if self.alpha in (0, 1):
            return piece.finetuned if self.alpha else piece.base
        values = torch.lerp(piece.base.double(), piece.finetuned.double(), self.alpha)
        return rounded(values, piece.finetuned.dtype, self.seed, f"{self.stream} {piece.name}", piece.start)


class ModuleWise(Interpolation):
    """s' = s + k / 100 (p - s) for queries and keys, p itself at k = 100 (QK-Restore, arXiv 2606.11052)."""

    CARD = """\
# A fine-tuned model whose queries and keys were moved towards its base

The projections of queries and keys in the region `{region}`, {elements:,} parameters, went {ratio:g} % of the way to
the base model, rounded at random where the fine-tuned model's type has 16 bits. Everything else is the fine-tuned
model's. Nothing was trained afterwards.

{models}
| region | `{region_cell}` |
{settings}
{identity} The method is QK-Restore (arXiv 2606.11052);
the model was made with sftlens, `sftlens restore --criterion module-wise`.
"""

    def __init__(self, pair: Pair, ratio: float, seed: int = 0) -> None:
        """`ratio` is k, percent. Raises ModelError where the region has no projection of queries or keys."""
        super().__init__(pair, 1 - ratio / 100, seed, ratio)
        self._inside = frozenset(filter(rule(ROUTING), pair.names))
        if not self._inside:
            raise ModelError(
                f"{pair.finetuned.folder}: region {pair.region!r} has no projection of queries or "
                "keys; take a region with the attention's, or another criterion than module-wise"
            )

    @property
    def facts(self) -> dict[str, object]:
        """How many parameters moved, and how far."""
        return {"elements": sum(map(self.pair.size, self._inside)), "ratio": self.ratio}

    def apply(self, piece: Piece) -> Tensor:
        """Return what is interpolated of queries and keys, and everything else as it is."""
        return super().apply(piece) if self.changes(piece.name) else piece.finetuned


def rounded(values: Tensor, dtype: torch.dtype, seed: int, stream: str, start: int) -> Tensor:
    """Return fp64 `values`, elements start, start + 1, ... of a tensor, in `dtype`: at random if it has 16 bits.

    `stream` names the random numbers; an element's depends on it, the seed and the element's place alone.
    """
    if dtype not in SHORT:
        return values.to(dtype)
    near, far, chance = neighbours(values, dtype)
    drawn = hashed(seed, stream, start, len(values), values.device)
    return torch.where(drawn.double() / 2**KEY_BITS < chance, far, near)


def neighbours(values: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Return for fp64 `values` a nearest number of `dtype`, the next one beyond the value, and where between they are.

    The third is float64 in [0, 1]: 0 is at the first; taking the second with this chance keeps the mean.
    """
    near = values.to(dtype)
    beyond = values - near.double()
    far = torch.nextafter(near, torch.copysign(torch.full_like(near, torch.inf), beyond.to(dtype)))
    far = far.where(far.isfinite(), near)
    return near, far, (beyond / (far.double() - near.double())).nan_to_num_(0)


def factor(pair: Pair, reverted: Reverted) -> float:
    """Return the alpha that reverts the share `reverted.sum_d2` of sum (s - p)^2, from a sample; 1 for no change."""
    if not 0 < reverted.sum_d2 < 1:
        return float(1 - reverted.sum_d2)
    step = 1 + pair.elements() // LARGE
    pieces = [(piece.base[::step], piece.finetuned[::step]) for piece in pair.sample()]
    if all(s.dtype not in SHORT for _, s in pieces):
        return (1 - reverted.sum_d2) ** 0.5
    wanted = (1 - reverted.sum_d2) * sum(remaining(piece, 1.0) for piece in pieces)
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        enough = sum(remaining(piece, middle) for piece in pieces) <= wanted
        low, high = (middle, high) if enough else (low, middle)
    return low


def remaining(elements: tuple[Tensor, Tensor], alpha: float) -> float:
    """Return the expected sum of (s' - p)^2 over `elements`."""
    p, s = (values.double() for values in elements)
    values = torch.lerp(p, s, alpha)
    near, far, chance = neighbours(values, elements[1].dtype)
    spread = chance * (1 - chance) * (far.double() - near.double()).square()
    return float(((values - p).square() + spread).sum())
