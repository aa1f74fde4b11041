"""Changes of several fine-tuned models side by side: how large each is, and how much they point the same way."""

from collections.abc import Sequence

import numpy as np
import torch

from sftlens.restoration.pairs import Pair


def products(pairs: Sequence[Pair]) -> np.ndarray:
    """Return the inner products of the changes d = s - p of some models, float64 [len(pairs), len(pairs)]: one pass.

    The pairs are of one region, one base and equal pieces. Raises ModelError for NaN or Inf in the weights.
    """
    found = torch.zeros(len(pairs), len(pairs), dtype=torch.float64, device=pairs[0].device)
    for pieces in zip(*(pair.pieces() for pair in pairs), strict=True):
        changes = torch.stack([piece.finetuned.double() - piece.base.double() for piece in pieces])
        found += changes @ changes.T
    return found.cpu().numpy()


def cosines(products: np.ndarray) -> np.ndarray:
    """Return the cosines between changes from their inner `products`, [models, models]; NaN where one is zero."""
    norms = np.sqrt(np.diag(products))
    scale = np.outer(norms, norms)
    return np.divide(products, scale, out=np.full_like(products, np.nan), where=scale > 0)
