"""Orders in which elements are restored, by name; one small file each."""

import inspect
from collections.abc import Callable

from sftlens.errors import ConfigError
from sftlens.restoration.orders import absolute, bottom, random, relative, smallest
from sftlens.restoration.orders.keys import Order
from sftlens.settings.restoration import RestorationSettings

__all__ = ["ORDERS", "Order", "description", "make"]

ORDERS: dict[str, Callable[[RestorationSettings], Order]] = {
    "relative": relative.make,
    "absolute": absolute.make,
    "random": random.make,
    "bottom": bottom.make,
    "smallest": smallest.make,
}
"""Every order by its name: settings -> order."""


def make(name: str, settings: RestorationSettings) -> Order:
    """Return the order called `name`. Raises ConfigError, with the list of orders, for any other name."""
    if name not in ORDERS:
        raise ConfigError(f"order {name!r} is unknown; choose one of: {', '.join(ORDERS)}")
    return ORDERS[name](settings)


def description(name: str) -> str:
    """Return what the order called `name` is, in one sentence: the first of its file."""
    module = inspect.getmodule(ORDERS[name])
    return (inspect.getdoc(module) or "").split("\n\n")[0].replace("\n", " ").rstrip(".")
