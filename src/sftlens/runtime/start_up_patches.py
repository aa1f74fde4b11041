"""What torch and transformers do while they are imported, done later or more quickly, to the same end.

Each function is called with a module of theirs as soon as it has been imported (see sftlens.runtime.lean_imports).
"""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any


def source_of_caller(utils: ModuleType) -> None:
    """Have torch._library.utils name a caller's file and line without looking for the module and its source."""

    def get_source(stacklevel: int) -> str:
        frame = sys._getframe(stacklevel)
        return f"{frame.f_code.co_filename}:{frame.f_lineno}"

    utils.__dict__["get_source"] = get_source


def generators(opaque_object: ModuleType) -> None:
    """Let torch.Generator be used before torch._prims is loaded, which would set its metaclass."""
    sys.modules["torch._C"].__dict__["_set_generator_metaclass"](opaque_object.__dict__["OpaqueBaseMeta"])


class Unscanned(dict[frozenset[str], dict[str, set[str]]]):
    """What a package of transformers names without its models: an import structure as `_LazyModule` takes it."""

    def __init__(self, path: Path, prefix: str | None) -> None:
        super().__init__({frozenset(): {}})
        self.path, self.prefix = path, prefix


SCANNED = ("__all__", "_class_to_module", "_import_structure", "_modules", "_object_missing_backend")
"""What a `_LazyModule` makes of its import structure."""


def scan_late(utils: ModuleType) -> None:
    """Have transformers read through its models' sources when the package is asked for a name that is in none other.

    Modules and packages are imported without that; only `from transformers import NAME` may need it.

    Args:
        utils: the module transformers.utils.import_utils, just imported.
    """
    lazy: Any = utils._LazyModule
    define, start, find, listed = utils.define_import_structure, lazy.__init__, lazy.__getattr__, lazy.__dir__
    models = Path(str(utils.__file__)).parents[1] / "models"
    later: dict[Any, tuple[Unscanned, tuple[Any, ...], dict[str, Any]]] = {}

    def define_late(module_path: Any, prefix: str | None = None) -> Any:
        path = Path(module_path)
        return Unscanned(path, prefix) if path in (models, models / "__init__.py") else define(module_path, prefix)

    def start_late(self: Any, name: str, file: str, structure: Any, *args: Any, **options: Any) -> None:
        start(self, name, file, structure, *args, **options)
        if isinstance(structure, Unscanned):
            later[self] = (structure, (name, file), {"args": args, **options})
            del self.__all__

    def scan(self: Any) -> None:
        structure, names, options = later.pop(self)
        full = define(structure.path, structure.prefix)
        full[frozenset()].update(structure[frozenset()])
        whole = lazy.__new__(lazy)
        start(whole, *names, full, *options.pop("args"), **options)
        self.__dict__.update({key: whole.__dict__[key] for key in SCANNED})

    def find_late(self: Any, name: str) -> Any:
        if self not in later:
            return find(self, name)
        try:
            return find(self, name)
        except AttributeError:
            # The import system asks for a module in the package before it looks for its file, and for much else.
            unsaid = name.startswith("__") and name != "__all__"
            if unsaid or Path(self.__file__).with_name(f"{name}.py").is_file():
                raise
            scan(self)
            return getattr(self, name)

    def list_late(self: Any) -> Any:
        if self in later:
            scan(self)
        return listed(self)

    utils.__dict__["define_import_structure"] = define_late
    lazy.__init__, lazy.__getattr__, lazy.__dir__ = start_late, find_late, list_late
