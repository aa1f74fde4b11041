"""What an order is: one non-negative integer per element, the largest restored first."""

from typing import Protocol

import torch
from torch import Tensor

INFINITY_BITS = 0x7F800000
"""Bit pattern of fp32 +inf, the largest that a value can have."""


class Order(Protocol):
    """Ranks elements without seeing the others, so that tensors can be read one piece at a time."""

    def __call__(self, name: str, base: Tensor, finetuned: Tensor, start: int = 0) -> Tensor:
        """Return int32 keys >= 0, same shape as the 1-D `base`; larger keys are restored first.

        `base` and `finetuned` are elements start, start + 1, ... of the flattened tensor `name`, as stored
        (bf16, fp16, fp32 or fp64) and finite.
        """
        ...


def descending(values: Tensor) -> Tensor:
    """Return keys that put large fp32 `values` (>= 0, never NaN) first: bit patterns sort like the values."""
    # abs only clears the sign bit: -0.0, whose pattern is negative, must rank as 0.0.
    return values.abs().view(torch.int32)


def ascending(values: Tensor) -> Tensor:
    """Return keys that put small fp32 `values` (>= 0, never NaN) first."""
    return INFINITY_BITS - descending(values)
