"""Orders in which elements are restored, by name; one small file each."""

import inspect
from collections.abc import Callable

from sftlens.config.restoration import RestorationSettings
from sftlens.errors import ConfigError
from sftlens.restoration.criteria import absolute, bottom, random, relative, smallest
from sftlens.restoration.criteria.base import Criterion

__all__ = ["CRITERIA", "Criterion", "description", "make"]

CRITERIA: dict[str, Callable[[RestorationSettings], Criterion]] = {
    "relative": relative.make,
    "absolute": absolute.make,
    "random": random.make,
    "bottom": bottom.make,
    "smallest": smallest.make,
}
"""Every criterion by its name: settings -> criterion."""


def make(name: str, settings: RestorationSettings) -> Criterion:
    """Return the criterion called `name`. Raises ConfigError, with the list of criteria, for any other name."""
    if name not in CRITERIA:
        raise ConfigError(f"criterion {name!r} is unknown; choose one of: {', '.join(CRITERIA)}")
    return CRITERIA[name](settings)


def description(name: str) -> str:
    """Return what the criterion called `name` is, in one sentence: the first of its file."""
    module = inspect.getmodule(CRITERIA[name])
    return (inspect.getdoc(module) or "").split("\n\n")[0].replace("\n", " ").rstrip(".")
