"""What a criterion is: one non-negative integer per element, the largest restored first."""

from typing import Protocol

import torch
from torch import Tensor

ALL_BITS = 0x7FFFFFFF
"""Every bit but the sign: the keys exclusive-or this are in reverse order."""


class Criterion(Protocol):
    """Ranks elements without seeing the others, so that tensors can be read one piece at a time."""

    def __call__(self, name: str, p: Tensor, s: Tensor, start: int = 0) -> Tensor:
        """Return int32 keys >= 0, same shape as the 1-D `p`; larger keys are restored first.

        `p` (base) and `s` (fine-tuned) are elements start, start + 1, ... of the flattened tensor `name`, fp32 and
        finite. Both may be overwritten, and the keys may lie in their memory.
        """
        ...


def descending(values: Tensor) -> Tensor:
    """Return keys that put fp32 `values` of large magnitude first, in their place: bit patterns sort like values."""
    # abs only clears the sign bit: -0.0, whose pattern is negative, must rank as 0.0.
    return values.abs_().view(torch.int32)


def ascending(values: Tensor) -> Tensor:
    """Return keys that put fp32 `values` of small magnitude first, in their place."""
    return descending(values).bitwise_xor_(ALL_BITS)
