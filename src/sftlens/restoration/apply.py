"""Restoring selected elements to their pre-trained values while tensors pass by; how much of the change it reverts."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, dataclass
from math import sqrt

import numpy as np
import torch
from torch import Tensor

from sftlens.errors import ModelError
from sftlens.models import identity
from sftlens.restoration.cards import cell, head, name_of
from sftlens.restoration.criteria import Criterion
from sftlens.restoration.cuts import EVERYTHING, Cut, merged
from sftlens.restoration.pairs import Pair, Piece
from sftlens.restoration.ranking import SUMS, change_sizes, hashed
from sftlens.restoration.topk import keys_of

Values = Callable[[Piece], Tensor]
"""A piece -> its new values, in the dtype of `piece.finetuned`, 1-D; `piece.p` and `piece.s` stay as they are."""
IDENTITY = "A model's identity is the SHA-256 over the names and SHA-256 of its files."
MODELS = """\
| | |
|---|---|
| base model | {base_name}, `{base}` |
| fine-tuned model | `{finetuned}` |"""
"""How the table of a model card begins."""


class Method(ABC):
    """A model between base and fine-tuned one as a stream of tensors, for any loader; nothing is written.

    As a function of (name, fine-tuned tensor) it fits `checkpoints.load_model`: tensors may come in any sequence,
    and more than once. Iterated over, it gives each (name, changed tensor) of the fine-tuned checkpoint.
    """

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self._inside = frozenset(pair.names)
        """Names of the tensors that may change."""

    CARD = ""
    """The model card without its head: a format of `facts`, and of region (region_cell in a table), description,
    `models` and `settings` (the first and last lines of a table) and `identity` (a sentence on what hashes are)."""
    description = ""
    """Of what it was made by, one sentence."""

    @property
    @abstractmethod
    def facts(self) -> dict[str, object]:
        """What was done, for summaries and the model card; JSON values."""

    def card(self, inputs: Mapping[str, str], settings: Mapping[str, object], library: str = "transformers") -> str:
        """Return README.md of the changed model, which `library` loads.

        `inputs` holds the content hash of `base` and of `finetuned`, `settings` what else the method depends on.
        """
        base = self.pair.base.folder
        if origin := identity.origin(base):
            settings = {**settings, "origin of the base": origin}
        given = {
            "models": MODELS.format(base_name=cell(name_of(base)), **inputs),
            "region": self.pair.region,
            "region_cell": cell(self.pair.region),
            "description": cell(self.description),
            "settings": "".join(f"| {cell(name)} | {cell(value)} |\n" for name, value in settings.items()),
            "identity": IDENTITY,
        }
        return head(base, library) + self.CARD.format(**self.facts, **given)

    @abstractmethod
    def apply(self, piece: Piece) -> Tensor:
        """Return the new values of a piece, of the dtype of `piece.finetuned`; `piece.p` and `piece.s` may change."""

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, self(name, tensor)) for name, tensor in self.pair.finetuned)

    def changes(self, name: str) -> bool:
        """Whether any element of the tensor `name` may be changed."""
        return name in self._inside

    def __call__(self, name: str, tensor: Tensor) -> Tensor:
        """Return what the method makes of `tensor`; same shape and dtype.

        p is the base's element cast to the dtype of `tensor` (see `Pair`): bit for bit what training started from.
        `tensor` must be as stored in the fine-tuned model; it is not changed. Raises ModelError otherwise.
        """
        if not self.changes(name):
            return tensor
        restored = torch.empty_like(tensor, memory_format=torch.contiguous_format)
        flat, start = restored.view(-1), 0
        for piece in self.pieces(name, tensor):
            flat[start : start + len(piece)] = piece
            start += len(piece)
        return restored

    def pieces(self, name: str, tensor: Tensor) -> Iterator[Tensor]:
        """Yield what calling gives, flattened and piece by piece."""
        if tuple(tensor.shape) != self.pair.finetuned.shape(name):
            raise ModelError(f"{self.pair.finetuned.folder}: tensor {name!r} has another shape; load this model")
        return map(self.apply, self.pair.of(name, tensor))


class Restorer(Method):
    """Restores the elements of a cut to p."""

    CARD = """\
# A fine-tuned model with {ratio:g} % of a region's parameters restored to the base model's values

Of the {elements:,} parameters of the region `{region}`, the first {restored:,} by the criterion `{criterion}` have the
value of the base model, bit for bit (in the type of the fine-tuned model). Everything else is the fine-tuned model's.
Nothing was trained afterwards.

{models}
| criterion | `{criterion}`: {description} |
| region | `{region_cell}` |
| ratio | {ratio:g} % |
| parameters of the region | {elements:,} |
| restored | {restored:,} |
| cut | every key above {threshold}, and the first {ties:,} parameters of those with this key |
{settings}
{identity} Ties go by tensor name, then flat index.
The method is that of "Analyzing the Effects of Supervised Fine-Tuning on Model Knowledge from Token and Parameter
Levels" (arXiv 2509.16596, section 6); the model was made with `sftlens restore`.
"""

    def __init__(self, pair: Pair, criterion: Criterion, cut: Cut) -> None:
        super().__init__(pair)
        self.criterion = criterion
        self.description = criterion.description
        self.cut = cut

    @property
    def facts(self) -> dict[str, object]:
        """The cut."""
        return {
            "criterion": self.criterion.name,
            "ratio": self.cut.ratio,
            "elements": self.pair.elements(),
            "restored": self.cut.elements,
            "threshold": self.cut.threshold,
            "ties": self.cut.ties,
        }

    def changes(self, name: str) -> bool:
        """Whether any element of the tensor `name` may be restored."""
        return super().changes(name) and self.cut.elements > 0

    def apply(self, piece: Piece) -> Tensor:
        """Return the piece with its elements of the cut restored to p."""
        return self.replaced(piece, piece.base)

    def replaced(self, piece: Piece, values: Tensor) -> Tensor:
        """Return the piece with `values` in its elements of the cut."""
        if self.cut.threshold == EVERYTHING:
            return values
        mask = self.cut.mask(piece.name, keys_of(self.criterion, piece), piece.start)
        return merged(mask, values, piece.finetuned)


class Replaced(Method):
    """Elements of a restoration's cut get other values than p: a null control.

    Does restoring help because these elements get p back, or because they lose what training wrote there? Every other
    element is as after restoring the same k %.
    """

    CARD = """\
# A fine-tuned model in which {ratio:g} % of a region's parameters have other values: a null control

Of the {elements:,} parameters of the region `{region}`, the first {replaced:,} by the criterion `{criterion}`, those
that restoring would set to the base model's values, got other ones: {description}. Everything else is the fine-tuned
model's. Nothing was trained afterwards. It serves comparisons, and nobody should use it.

{models}
| criterion | `{criterion}` |
| region | `{region_cell}` |
| ratio | {ratio:g} % |
{settings}
{identity} The model was made with sftlens,
`sftlens restore`.
"""

    def __init__(self, restorer: Restorer, description: str, values: Values) -> None:
        """Take the cut of `restorer`; `description` says in words what `values` are."""
        super().__init__(restorer.pair)
        self.restorer, self.description, self.values = restorer, description, values

    @property
    def facts(self) -> dict[str, object]:
        """The cut."""
        told = self.restorer.facts
        return {**{name: told[name] for name in ("criterion", "ratio", "elements")}, "replaced": told["restored"]}

    def changes(self, name: str) -> bool:
        """Whether any element of the tensor `name` may be in the cut."""
        return self.restorer.changes(name)

    def apply(self, piece: Piece) -> Tensor:
        """Return the piece with other values in its elements of the cut."""
        return self.restorer.replaced(piece, self.values(piece))


def zeros(piece: Piece) -> Tensor:
    """Return 0 for each element."""
    return torch.zeros_like(piece.finetuned)


def flipped(piece: Piece) -> Tensor:
    """Return p - (s - p), computed in fp64 and rounded to the nearest of the dtype, at most its largest number."""
    most = torch.finfo(piece.finetuned.dtype).max
    values = 2 * piece.base.double() - piece.finetuned.double()
    # Where nothing changed the bits stay: of -0 the difference would be another zero.
    return values.clamp_(-most, most).to(piece.finetuned.dtype).where(piece.base != piece.finetuned, piece.finetuned)


def either(piece: Piece, seed: int) -> Tensor:
    """Return s or p - (s - p), each with a chance of one half, by a hash of the seed and of the element's place."""
    drawn = hashed(seed, f"equal-size {piece.name}", piece.start, len(piece.base), piece.base.device)
    return torch.where((drawn & 1).bool(), flipped(piece), piece.finetuned)


@dataclass(frozen=True)
class Reverted:
    """Shares (0..1) of the region, sums in fp64; of a change that is zero nothing is reverted."""

    elements: float
    """Elements whose value is another than in the fine-tuned model: selected elements that training left alone do
    not count."""
    sum_r: float
    """1 - sum of the remaining |s' - p| / (|p| + epsilon) by the sum of |s - p| / (|p| + epsilon)."""
    sum_abs_d: float
    """The same of |s - p|."""
    sum_d2: float
    """The same of (s - p)^2."""
    distance: float
    """l2 distance that remains to the base over the region; no share."""

    def metrics(self, elements: int) -> Iterator[dict[str, object]]:
        """Yield rows of metrics, of a region of `elements` elements."""
        names = ("reverted_elements", "reverted_change", "reverted_abs_d", "reverted_d2", "distance_to_base")
        for metric, value in zip(names, astuple(self), strict=True):
            yield {"metric": metric, "value": value, "n": elements}


def reverted(method: Method, epsilon: float) -> Reverted:
    """Return what `method` reverts: one pass over both models.

    Raises ModelError on NaN or Inf in the weights, or a sum too large for a number.
    """
    pair = method.pair
    before, after, moved = np.zeros(len(SUMS)), np.zeros(len(SUMS)), 0
    for piece in pair.pieces():
        restored = method.apply(piece)
        before += [float(values.sum()) for values in change_sizes(piece.base, piece.finetuned, epsilon)]
        after += [float(values.sum()) for values in change_sizes(piece.base, restored, epsilon)]
        moved += int((restored != piece.finetuned).sum())
    if not np.isfinite(before).all():
        raise ModelError(f"{pair.finetuned.folder}: the change overflows; fetch the model again")
    shares = 1 - np.divide(after, before, out=np.ones(len(SUMS)), where=before > 0)
    sum_r, sum_abs_d, sum_d2 = map(float, shares)
    return Reverted(moved / pair.elements(), sum_r, sum_abs_d, sum_d2, sqrt(after[-1]))
