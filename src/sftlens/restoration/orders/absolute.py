"""Largest |s - p| first: a control without the division by |p|, one of ours."""

from torch import Tensor

from sftlens.restoration.orders.keys import Order, descending
from sftlens.settings.restoration import RestorationSettings


def make(settings: RestorationSettings) -> Order:
    """Return the order `absolute`."""

    def order(name: str, p: Tensor, s: Tensor, start: int = 0) -> Tensor:
        return descending(s.sub_(p))

    return order
