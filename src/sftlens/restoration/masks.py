"""Choosing elements by their keys: the operations that every element of a model goes through."""

import numpy as np
import torch
from torch import Tensor

BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""The integers of a given number of bytes."""


def above(keys: Tensor, threshold: int) -> Tensor:
    """Return which int32 `keys` are larger than `threshold`, bool, same shape and device."""
    # On a CPU numpy compares integers several times as fast as torch.
    return torch.from_numpy(keys.numpy() > threshold) if keys.is_cpu else keys > threshold


def indices(mask: Tensor) -> Tensor:
    """Return where the 1-D bool `mask` holds, int64, ascending."""
    # numpy skips over stretches of False, torch does not.
    return torch.from_numpy(mask.numpy().nonzero()[0]) if mask.is_cpu else mask.nonzero().flatten()


def picked(keys: Tensor, mask: Tensor) -> np.ndarray:
    """Return the 1-D `keys` for which `mask` holds."""
    return keys.numpy()[mask.numpy()] if keys.is_cpu else keys[mask].cpu().numpy()


def merged(mask: Tensor, chosen: Tensor, other: Tensor) -> Tensor:
    """Return the elements of `chosen` where `mask` holds, else of `other`, bit for bit; all 1-D, one dtype."""
    # torch.where takes one element at a time; integer operations take whole registers.
    kind = BITS[chosen.element_size()]
    take, keep = chosen.view(kind), other.view(kind)
    flip = mask.to(kind).neg_()
    return take.bitwise_xor(keep).bitwise_and_(flip).bitwise_xor_(keep).view(chosen.dtype)
