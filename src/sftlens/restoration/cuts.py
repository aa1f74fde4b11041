"""What a selection is: a threshold and the last tie that is taken; and the operations every element goes through."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor

import numpy as np
import torch
from torch import Tensor

from sftlens.errors import ConfigError

NOTHING = 2**31 - 1
"""No key is larger: the threshold of an empty selection."""
EVERYTHING = -1
"""Every key is larger: the threshold of the whole region, for which no key need be computed."""
BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""The integers of a given number of bytes."""


@dataclass(frozen=True)
class Cut:
    """The first floor(n k / 100) elements by a criterion: all with a larger key, and the first of those tied.

    Ties go by (tensor name, flat index). Nothing but this is needed to tell, for any piece of any tensor in any
    sequence, which elements are selected.
    """

    ratio: float
    """k, percent."""
    elements: int
    """How many elements are selected."""
    threshold: int
    """Elements with a key above are selected, those with this key in part."""
    ties: int = 0
    """How many elements with exactly this key are selected."""
    last: str = ""
    """The tensor that holds the last selected tie; of tensors before it all ties are selected."""
    end: int = 0
    """Ties of that tensor are selected if their flat index is below."""

    def mask(self, name: str, keys: Tensor, start: int) -> Tensor:
        """Return which elements of the tensor `name` from `start` on are selected, bool, by their int32 `keys`, 1-D."""
        mask = above(keys, self.threshold - (name < self.last))
        if name == self.last and start < self.end:
            tied = slice(0, self.end - start)
            mask[tied] = above(keys[tied], self.threshold - 1)
        return mask


def count(elements: int, ratio: float) -> int:
    """Return floor(elements * ratio / 100), the ratio taken as the decimal it is written as."""
    if not 0 <= ratio <= 100:
        raise ConfigError(f"ratio {ratio}: not in [0, 100]; it is a percentage of the region's elements")
    return floor(elements * Fraction(str(ratio)) / 100)


def levels(cuts: Sequence[Cut], name: str, keys: Tensor, start: int) -> Tensor:
    """Return how many of the nested `cuts`, at most 255, leave each element of a piece out, uint8 (see `Cut.mask`)."""
    level = torch.full(keys.shape, len(cuts), dtype=torch.uint8, device=keys.device)
    for cut in cuts:
        level -= cut.mask(name, keys, start).view(torch.uint8)
    return level


def above(keys: Tensor, threshold: int) -> Tensor:
    """Return which integer `keys` are larger than `threshold`, bool, same shape and device."""
    # On a CPU numpy compares integers several times as fast as torch.
    return torch.from_numpy(keys.numpy() > threshold) if keys.is_cpu else keys > threshold


def how_many(mask: Tensor) -> int:
    """Return for how many elements the bool `mask` holds."""
    return int(np.count_nonzero(mask.numpy()) if mask.is_cpu else mask.sum())


def indices(mask: Tensor) -> Tensor:
    """Return where the 1-D bool `mask` holds, int64, ascending."""
    # numpy skips over runs of False, torch does not.
    return torch.from_numpy(mask.numpy().nonzero()[0]) if mask.is_cpu else mask.nonzero().flatten()


def picked(keys: Tensor, mask: Tensor) -> Tensor:
    """Return the 1-D `keys` for which the bool `mask` holds."""
    return torch.from_numpy(keys.numpy()[mask.numpy()]) if keys.is_cpu else keys[mask]


def merged(mask: Tensor, chosen: Tensor, other: Tensor) -> Tensor:
    """Return the elements of `chosen` where `mask` holds, else of `other`, bit for bit; all 1-D, one dtype."""
    if not chosen.is_cpu:
        return torch.where(mask, chosen, other)
    # On a CPU torch.where takes one element at a time; integer operations take whole registers.
    kind = BITS[chosen.element_size()]
    take, keep = chosen.view(kind), other.view(kind)
    flip = mask.to(kind).neg_()
    return take.bitwise_xor(keep).bitwise_and_(flip).bitwise_xor_(keep).view(chosen.dtype)
