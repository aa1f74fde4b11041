"""Largest |s - p| first: a control without the division by |p|, one of ours."""

from torch import Tensor

from sftlens.restoration.orders.keys import Order, descending
from sftlens.settings.restoration import RestorationSettings


def make(settings: RestorationSettings) -> Order:
    """Return the order `absolute`."""

    def order(name: str, base: Tensor, finetuned: Tensor, start: int = 0) -> Tensor:
        return descending(finetuned.float() - base.float())

    return order
