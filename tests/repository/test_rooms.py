"""The rooms of the package: no circle, no arrow upward, no folder too full (docs/rooms.py); each check can fail."""

import importlib.util
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from repository import ROOT


def rooms() -> ModuleType:
    spec = importlib.util.spec_from_file_location("rooms", ROOT / "docs/rooms.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def house(tmp_path: Path, sources: dict[str, str]) -> ModuleType:
    """Return docs/rooms.py, looking at a package of two rooms, `lower` and `upper`, with these files."""
    found = rooms()
    found.SOURCE, found.PAGE, found.LEVELS = (
        tmp_path / "sftlens",
        tmp_path / "page.md",
        (("lower",), ("upper", "upper.low")),
    )
    for name, text in ({"lower/__init__.py": "", "upper/__init__.py": ""} | sources).items():
        path = found.SOURCE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    found.PAGE.write_text(f"{found.FROM}\n{found.TO}\n", encoding="utf-8")
    found.PAGE.write_text(found.page(), encoding="utf-8")
    return found


def test_the_rooms_are_in_order_and_their_drawing_is_true() -> None:
    assert rooms().faults() == []


@pytest.mark.parametrize(
    ("sources", "fault"),
    [
        ({"upper/a.py": "from sftlens.lower import b", "lower/b.py": ""}, None),
        ({"lower/a.py": "from sftlens.upper import b", "upper/b.py": ""}, "lower.a imports upper.b, which is above it"),
        (
            {"lower/a.py": "if x:\n    import sftlens.upper", "lower/c.py": ""},
            "lower.a imports upper, which is above it",
        ),
        (
            {"lower/a.py": "from sftlens.lower import b", "lower/b.py": "def f():\n    from sftlens.lower.a import g"},
            "imports in a circle: lower.a, lower.b",
        ),
        ({f"lower/m{i}.py": "" for i in range(12)}, "lower holds more than 12 modules"),
    ],
)
def test_each_fault_of_the_rooms_is_found(tmp_path: Path, sources: dict[str, str], fault: str | None) -> None:
    found = house(tmp_path, sources).faults()
    assert not found if fault is None else len(found) == 1 and found[0].endswith(fault)


def test_a_room_may_lie_inside_another_and_an_unknown_one_is_an_error(tmp_path: Path) -> None:
    found = house(tmp_path, {"upper/low/a.py": ""})
    found.LEVELS = (("upper.low",), ("lower",), ("upper",))
    assert found.level("upper.low.a") < found.level("lower.b") < found.level("upper.c")
    with pytest.raises(ValueError, match="empty"):
        found.level("attic.a")


def test_a_drawing_that_is_out_of_step_is_named(tmp_path: Path) -> None:
    found = house(tmp_path, {"upper/a.py": "from sftlens.lower import b", "lower/b.py": ""})
    (found.SOURCE / "upper/a.py").write_text("", encoding="utf-8")
    assert [fault.endswith("is out of step: python docs/rooms.py") for fault in found.faults()] == [True]


def test_no_two_files_of_tests_share_a_name() -> None:
    """Python imports them by name alone, so the second one would not run."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
