"""One list per axis: a package whose modules each register what they add to it."""

import difflib
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any, Generic, Protocol, TypeVar

from sftlens.errors import ConfigError


class Named(Protocol):
    """What can be registered."""

    @property
    def name(self) -> str: ...


E = TypeVar("E", bound=Named)


class Registry(Generic[E]):
    """The entries of one axis; its package is imported, module by module, when they are first asked for."""

    def __init__(self, axis: str, package: str, key: Callable[[E], Any] | None = None) -> None:
        """Name an axis and its package; entries are in the order of `key`, else of their modules' names."""
        self._axis, self._package, self._key = axis, package, key
        self._entries: dict[str, E] = {}
        self._imported = False

    def add(self, entry: E) -> E:
        """Register an entry and return it. Raises ValueError for a name that another one has."""
        if self._entries.setdefault(entry.name, entry) is not entry:
            raise ValueError(f"two entries of {self._package} are called {entry.name!r}")
        return entry

    def __iter__(self) -> Iterator[E]:
        entries = list(self._complete().values())
        return iter(sorted(entries, key=self._key) if self._key else entries)

    def names(self) -> list[str]:
        return [entry.name for entry in self]

    def get(self, name: str) -> E:
        """Return the entry of a name. Raises ConfigError, which names the nearest and lists all, for an unknown one."""
        if name in self._complete():
            return self._entries[name]
        raise unknown(self._axis, name, self.names())

    def _complete(self) -> dict[str, E]:
        if not self._imported:
            for module in pkgutil.iter_modules(import_module(self._package).__path__):
                import_module(f"{self._package}.{module.name}")
            self._imported = True
        return self._entries


def unknown(axis: str, name: str, names: Sequence[str]) -> ConfigError:
    """Return the error for a name that an axis does not have; it names the nearest and lists all."""
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return ConfigError(f"there is no {axis} {name!r}; {hint}choose one of: {', '.join(names)}")
