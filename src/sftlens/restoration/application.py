"""Setting the elements of a cut back to their pre-trained values while tensors pass by."""

from collections.abc import Iterator

import torch
from torch import Tensor

from sftlens.errors import ModelError
from sftlens.restoration.cuts import EVERYTHING, Cut
from sftlens.restoration.masks import merged
from sftlens.restoration.orders import Order
from sftlens.restoration.pairs import Pair
from sftlens.restoration.scanning import keys_of


class Restorer:
    """The restored model as a stream of tensors, for any loader; nothing is written.

    As a function of (name, fine-tuned tensor) it fits `checkpoints.load_model`: tensors may come in any sequence,
    and more than once. Iterated over, it gives each (name, restored tensor) of the fine-tuned checkpoint.
    """

    def __init__(self, pair: Pair, order: Order, cut: Cut) -> None:
        self.pair = pair
        self.order = order
        self.cut = cut
        self._inside = frozenset(pair.names)

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, self(name, tensor)) for name, tensor in self.pair.finetuned)

    def changes(self, name: str) -> bool:
        """Whether any element of the tensor `name` may be set back."""
        return name in self._inside and self.cut.elements > 0

    def __call__(self, name: str, tensor: Tensor) -> Tensor:
        """Return `tensor` with its elements of the cut set to p; same shape and dtype.

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
        for piece in self.pair.of(name, tensor):
            if self.cut.threshold == EVERYTHING:
                yield piece.base
            else:
                mask = self.cut.mask(name, keys_of(self.order, piece), piece.start)
                yield merged(mask, piece.base, piece.finetuned)
