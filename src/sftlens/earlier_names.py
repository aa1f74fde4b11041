"""Modules of the library under the names that programs wrote before the rooms; they go with the next version.

Version 0.1 began with all modules side by side. An import of one of the names below still works, and says the new one.
"""

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType

NOW = {
    "sftlens.adapters": "sftlens.models.adapters",
    "sftlens.checkpoints": "sftlens.models.checkpoints",
    "sftlens.matching": "sftlens.data.scoring",
    "sftlens.model_folders": "sftlens.models.identity",
    "sftlens.repair.facts": "sftlens.repair.user_files",
    "sftlens.repair.tasks": "sftlens.repair.user_files",
}
RENAMED = {"sftlens.repair.facts": {"read": "read_facts"}, "sftlens.repair.tasks": {"read": "read_task"}}


class EarlierNames(MetaPathFinder, Loader):
    """Finds what no other finder knows: it stands last, and costs an import of today's names nothing."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return spec_from_loader(fullname, self) if fullname in NOW else None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        warnings.warn(f"{name} is {NOW[name]} now; the old name goes with the next version", FutureWarning, 2)
        now = vars(importlib.import_module(NOW[name]))
        vars(module).update({key: value for key, value in now.items() if not key.startswith("__")})
        vars(module).update({old: now[new] for old, new in RENAMED.get(name, {}).items()})


def install() -> None:
    """Let Python find the earlier names."""
    if not any(isinstance(finder, EarlierNames) for finder in sys.meta_path):
        sys.meta_path.append(EarlierNames())
