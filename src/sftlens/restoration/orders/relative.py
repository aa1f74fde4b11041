"""Largest relative change |s - p| / (|p| + epsilon) first: the paper's order (section 6)."""

from torch import Tensor

from sftlens.restoration.orders.keys import Order, descending
from sftlens.settings.restoration import RestorationSettings


def relative_change(base: Tensor, finetuned: Tensor, epsilon: float) -> Tensor:
    """Return |s - p| / (|p| + epsilon), fp32, computed in fp32 from stored values of any float dtype."""
    before = base.float()
    return (finetuned.float() - before).abs_().div_(before.abs().add_(epsilon))


def make(settings: RestorationSettings) -> Order:
    """Return the order `relative`."""

    def order(name: str, base: Tensor, finetuned: Tensor, start: int = 0) -> Tensor:
        return descending(relative_change(base, finetuned, settings.epsilon))

    return order
