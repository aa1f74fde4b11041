"""Setting the elements of a cut back to their pre-trained values while tensors pass by."""

from torch import Tensor, where

from sftlens.errors import ModelError
from sftlens.restoration.orders import Order
from sftlens.restoration.pairs import Pair
from sftlens.restoration.selection import Cut, keys_of


class Restorer:
    """A function of (name, fine-tuned tensor) that gives the restored tensor; fits `checkpoints.load_model`.

    Tensors may come in any order, and more than once.
    """

    def __init__(self, pair: Pair, order: Order, cut: Cut) -> None:
        self.pair = pair
        self.order = order
        self.cut = cut
        self._inside = frozenset(pair.names)

    def __call__(self, name: str, tensor: Tensor) -> Tensor:
        """Return `tensor` with its elements of the cut set to p; same shape and dtype.

        p is the base's element cast to the dtype of `tensor` (see `Pair`): bit for bit what training started from.
        `tensor` must be as stored in the fine-tuned model; it is not changed. Raises ModelError otherwise.
        """
        if name not in self._inside or not self.cut.elements:
            return tensor
        if tuple(tensor.shape) != self.pair.finetuned.shape(name):
            raise ModelError(f"{self.pair.finetuned.folder}: tensor {name!r} has another shape; load this model")
        flat = tensor.reshape(-1).clone()
        ties = 0
        for piece in self.pair.of(name, tensor):
            mask, ties = self.cut.mask(name, keys_of(self.order, piece), ties)
            flat[piece.start : piece.start + mask.numel()] = where(mask, piece.base, piece.finetuned)
        return flat.view(tensor.shape)
