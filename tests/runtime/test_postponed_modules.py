"""A postponed module runs when it is used, and then is what it would have been."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from sftlens.runtime.postponed_modules import Finder, Lent, is_postponed

HEAVY = """
from heavy.parts import SIZE

class Shape:
    sides = 4

class Broken(Exception): ...

def area(side): return side * side * SIZE

def fail(): raise Broken
"""
USER = """
from typing import get_type_hints
from heavy import Broken, Shape, area
import heavy

def is_shape(value: Shape | None) -> bool: return isinstance(value, (str, Shape))

def survives(function):
    try:
        function()
    except Broken:
        return True
    except ValueError:
        return False
"""
OTHER = "from heavy import Shape\n"
LENT = Lent("user", frozenset({"Shape", "area"}), frozenset({"Broken"}))


@pytest.fixture
def modules(tmp_path: Path, monkeypatch) -> Iterator[Path]:
    """Make the packages `heavy`, `user` and `other`, and postpone `heavy`."""
    for name, text in (("user", USER), ("other", OTHER)):
        (tmp_path / f"{name}.py").write_text(text)
    (tmp_path / "heavy").mkdir()
    (tmp_path / "heavy/__init__.py").write_text(HEAVY)
    (tmp_path / "heavy/parts.py").write_text("SIZE = 2\n")
    finder = Finder({"heavy": LENT})
    monkeypatch.syspath_prepend(tmp_path)
    sys.meta_path.insert(0, finder)
    yield tmp_path
    sys.meta_path.remove(finder)
    for name in ("heavy", "heavy.parts", "user", "other"):
        sys.modules.pop(name, None)


@pytest.fixture
def user(modules: Path) -> ModuleType:
    return import_module("user")


def loaded() -> bool:
    return not is_postponed(sys.modules["heavy"])


def test_importing_names_and_asking_for_types_does_not_load(user):
    assert not user.is_shape(4) and user.is_shape("text")
    assert not loaded()


def test_a_call_loads_and_everybody_has_the_real_thing(user):
    assert user.area(3) == 18
    assert loaded()
    assert user.Shape is user.heavy.Shape is sys.modules["heavy"].Shape
    assert user.is_shape(user.Shape()) and not user.is_shape(4)


def test_a_subclass_is_one_of_the_real_class(user):
    class Square(user.Shape):
        pass

    assert Square.sides == 4 and issubclass(Square, user.Shape)


def test_looking_into_a_name_loads(user):
    assert user.Shape.sides == 4 and loaded()


def test_an_exception_that_cannot_come_yet_is_not_caught(user):
    assert user.survives(lambda: int("x")) is False
    assert not loaded()
    assert user.survives(lambda: user.heavy.fail()) is True


def test_other_importers_get_the_real_thing(modules):
    assert import_module("other").Shape.sides == 4
    assert loaded()


def test_a_module_inside_comes_after_its_package(user):
    assert import_module("heavy.parts").SIZE == 2
    assert loaded() and sys.modules["heavy"].parts is sys.modules["heavy.parts"]


def test_what_is_missing_is_missing(user):
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = user.heavy.nothing


def test_a_module_that_fails_says_so_at_each_use(modules):
    (modules / "heavy/parts.py").write_text("raise RuntimeError('no disk')\n")
    user = import_module("user")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no disk"):
            user.area(1)
