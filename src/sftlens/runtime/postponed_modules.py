"""Modules whose code runs when something in them is first used, even where `from module import name` asks early.

The standard library's LazyLoader loads at the first look at any attribute, so at every `from` import. Here a module
lends stand-ins for chosen names to chosen importers; a stand-in loads the module when it is called, subclassed or
looked into, and is no type of any object before that.
"""

import sys
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType
from typing import Any, Union

STATE = "__postponed__"
MACHINERY = {"__path__", "__file__", "__cached__", "__loader__", "__spec__", "__package__", "__warningregistry__"}
"""What the import system and inspection ask of every module: a module without it need not be loaded to say so."""
LOCK = threading.RLock()


@dataclass(frozen=True)
class Lent:
    """What a module gives out before it is loaded; any other name loads it."""

    importers: str = ""
    """Modules whose name begins so are lent stand-ins."""
    names: frozenset[str] = frozenset()
    """Functions and classes that these only call, look into or ask for the type of an object."""
    exceptions: frozenset[str] = frozenset()
    """Exceptions that these only catch."""
    substitutes: Mapping[str, Any] = field(default_factory=dict)
    """What stands for a name until the module is loaded, whoever asks."""
    loaded: Callable[[ModuleType], None] = lambda module: None
    """Called once, with the loaded module."""


class StandIn:
    """A name of a module that is not loaded yet; where it was imported to, the real thing replaces it then."""

    def __init__(self, module: ModuleType, name: str) -> None:
        self._module = module
        self._name = name

    def _real(self) -> Any:
        load(self._module)
        return getattr(self._module, self._name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._real()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        # Protocols are asked for by looking for their methods: that alone is no use of the module.
        if name.startswith("__") and is_postponed(self._module):
            raise AttributeError(name)
        return getattr(self._real(), name)

    def __instancecheck__(self, instance: object) -> bool:
        return not is_postponed(self._module) and isinstance(instance, self._real())

    def __subclasscheck__(self, subclass: type) -> bool:
        return not is_postponed(self._module) and issubclass(subclass, self._real())

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type]:
        return (self._real(),)

    def __or__(self, other: Any) -> Any:
        return Union[self, other]  # noqa: UP007 - what `|` does is defined here

    def __ror__(self, other: Any) -> Any:
        return Union[other, self]  # noqa: UP007


@dataclass
class _State:
    """What is kept about a module until it is loaded."""

    loader: Loader
    lent: Lent
    postponed: Collection[str]
    """All postponed modules: those in a package are there before the package is loaded."""
    loading: bool = False
    given: dict[str, Any] = field(default_factory=dict)
    """Stand-ins by name."""
    namespaces: list[dict[str, Any]] = field(default_factory=list)
    """Globals of the modules that got them."""

    def give(self, module: ModuleType, name: str, importer: dict[str, Any]) -> Any:
        """Return what stands for a name, None if nothing does."""
        if name in self.lent.substitutes:
            return self.lent.substitutes[name]
        if f"{module.__name__}.{name}" in self.postponed:
            return import_module(f"{module.__name__}.{name}")
        known = name in self.lent.names or name in self.lent.exceptions
        if not known or not str(importer.get("__name__", "")).startswith(self.lent.importers):
            return None
        if not any(namespace is importer for namespace in self.namespaces):
            self.namespaces.append(importer)
        if name not in self.given:
            # Nothing is of this type: an `except` clause needs a true exception, and this one never comes.
            never = name in self.lent.exceptions
            self.given[name] = type(name, (Exception,), {}) if never else StandIn(module, name)
        return self.given[name]

    def settle(self, module: ModuleType) -> None:
        """Put the real things in the place of the stand-ins."""
        real = {id(given): getattr(module, name) for name, given in self.given.items()}
        for namespace in self.namespaces:
            for key, value in list(namespace.items()):
                if id(value) in real:
                    namespace[key] = real[id(value)]
        self.lent.loaded(module)


class PostponedModule(ModuleType):
    """A module whose code has not run yet, or is running; afterwards it is an ordinary one."""

    def __getattr__(self, name: str) -> Any:
        if name in MACHINERY:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        with LOCK:
            state: _State | None = self.__dict__.get(STATE)
            if state is not None and state.loading:
                raise AttributeError(f"partially initialized module {self.__name__!r} has no attribute {name!r}")
            if state is not None:
                given = state.give(self, name, _importer(sys._getframe(1)))
                if given is not None:
                    return given
                load(self)
        return getattr(self, name)


def is_postponed(module: object) -> bool:
    """Whether a module's code has not run to its end yet."""
    return isinstance(module, PostponedModule)


def load(module: ModuleType) -> None:
    """Run a postponed module's code, after that of the packages it lies in; nothing happens if it has run."""
    with LOCK:
        parent = sys.modules.get(module.__name__.rpartition(".")[0])
        if parent is not None and is_postponed(parent):
            load(parent)
        state: _State | None = module.__dict__.get(STATE)
        if state is None or state.loading:
            return
        state.loading = True
        try:
            state.loader.exec_module(module)
        except BaseException:
            state.loading = False
            raise
        del module.__dict__[STATE]
        module.__class__ = ModuleType
        state.settle(module)


def _importer(frame: FrameType | None) -> dict[str, Any]:
    """Return the globals of whoever looks for an attribute; `from package import` looks by way of importlib."""
    while frame is not None and frame.f_globals.get("__name__") == "importlib._bootstrap":
        frame = frame.f_back
    return {} if frame is None else frame.f_globals


class _Postponing(Loader):
    """Makes a module without running its code."""

    def __init__(self, real: Loader, lent: Lent, postponed: Collection[str]) -> None:
        self._real, self._lent, self._postponed = real, lent, postponed

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return PostponedModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        _restore(module, self._real)
        module.__dict__[STATE] = _State(self._real, self._lent, self._postponed)


class _Following(Loader):
    """Calls a function with a module as soon as its code has run."""

    def __init__(self, real: Loader, follow: Callable[[ModuleType], None]) -> None:
        self._real, self._follow = real, follow

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        _restore(module, self._real)
        self._real.exec_module(module)
        self._follow(module)


class _Present(Loader):
    """Finds a module that came to be loaded while it was looked for."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


def _restore(module: ModuleType, loader: Loader) -> None:
    """Name the ordinary loader again: sources and data files are asked of it."""
    module.__loader__ = loader
    if module.__spec__ is not None:
        module.__spec__.loader = loader


class Finder(MetaPathFinder):
    """Postpones modules, and follows the import of others; stands first in sys.meta_path."""

    def __init__(
        self, postponed: Mapping[str, Lent], followed: Mapping[str, Callable[[ModuleType], None]] | None = None
    ) -> None:
        self._postponed, self._followed = postponed, followed or {}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the ordinary specification with a loader of ours; None for a module that is nothing to us."""
        if name not in self._postponed and name not in self._followed:
            return self._inside(name)
        spec = self._ordinary(name, path, target)
        if spec is None or spec.loader is None:
            return spec
        if name in self._postponed:
            spec.loader = _Postponing(spec.loader, self._postponed[name], self._postponed)
        else:
            spec.loader = _Following(spec.loader, self._followed[name])
        return spec

    def _ordinary(self, name: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
        for finder in sys.meta_path:
            if finder is not self and (spec := finder.find_spec(name, path, target)) is not None:
                return spec
        return None

    def _inside(self, name: str) -> ModuleSpec | None:
        """Load the postponed package that `name` lies in, as is due before any module in it."""
        package = sys.modules.get(name.rpartition(".")[0])
        if package is None or not is_postponed(package):
            return None
        load(package)
        present = sys.modules.get(name)
        return ModuleSpec(name, _Present(present)) if present is not None else None
