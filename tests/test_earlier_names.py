"""Programs that import a module by the name of the first version go on working, and are told the new name."""

import importlib
import sys

import pytest

from sftlens import earlier_names


@pytest.mark.parametrize("name", earlier_names.NOW)
def test_a_module_is_found_by_its_earlier_name_and_the_new_one_is_said(name):
    sys.modules.pop(name, None)
    now = importlib.import_module(earlier_names.NOW[name])
    with pytest.warns(FutureWarning, match=f"{name} is {now.__name__} now"):
        found = importlib.import_module(name)
    renamed = earlier_names.RENAMED.get(name, {})
    public = [key for key in vars(now) if not key.startswith("_") and key not in renamed]
    assert public and all(getattr(found, key) is getattr(now, key) for key in public)
    assert all(getattr(found, old) is getattr(now, new) for old, new in renamed.items())


def test_a_name_that_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError, match=r"sftlens\.nothing"):
        importlib.import_module("sftlens.nothing")
