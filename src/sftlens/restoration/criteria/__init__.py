"""Orders in which elements are restored, by name; one small file each."""

import inspect
from collections.abc import Callable

from sftlens.config.restoration import RestorationSettings
from sftlens.errors import ConfigError
from sftlens.restoration.criteria import absolute, bottom, random, relative, smallest
from sftlens.restoration.criteria.base import Order

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
