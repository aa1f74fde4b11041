"""The rooms of src/sftlens and the arrows between them, read off the imports.

python docs/rooms.py          draw the rooms anew in docs/architecture.md
python docs/rooms.py --check  exit 1 where the drawing is out of step, an arrow points upward, or a folder is too full
"""

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "sftlens"
PAGE = ROOT / "docs" / "architecture.md"
FROM, TO = "<!-- rooms -->", "<!-- end of rooms -->"
MOST_FILES = 12

LEVELS = (
    ("errors", "gate", "settings", "registry", "files", "processes", "yaml_file", "earlier_names", "__init__"),
    ("config.stages",),
    ("runtime", "statistics", "data"),
    ("tasks",),
    ("config.stages.training",),
    ("config.stages.evaluation",),
    ("models",),
    ("inference", "restoration"),
    ("mastery", "synthetic", "strategies"),
    ("training", "evaluation", "changes"),
    ("config.axes",),
    ("doubts",),
    ("config",),
    ("resources",),
    ("dag",),
    ("planning", "results"),
    ("paper",),
    ("reporting",),
    ("diagnosis",),
    ("repair",),
    ("commands", "cli", "__main__"),
)
"""The rooms from the bottom up: a room may import from its own level and below. A folder inside a room may have a level
of its own (`config.stages`)."""


def files() -> list[Path]:
    """Return the modules of the package; its links to what is shipped beside it (scripts, workflow) are left out."""
    return sorted(path for path in SOURCE.rglob("*.py") if path.resolve().is_relative_to(SOURCE))


def arrows() -> set[tuple[str, str]]:
    """Return which module of sftlens imports which other one, TYPE_CHECKING imports included."""
    found: set[tuple[str, str]] = set()
    for path in files():
        here = module_of(path)
        for name in _imported(ast.parse(path.read_text(encoding="utf-8"))):
            if (target := _module(name)) and target != here:
                found.add((here, target))
    return found


def module_of(path: Path) -> str:
    """Return the dotted name of a file of the package, without `sftlens`."""
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def room(module: str) -> str:
    """Return the longest name in LEVELS that a module lies in. Raises ValueError where no level names its room."""
    return max((name for names in LEVELS for name in names if f"{module}.".startswith(f"{name}.")), key=len)


def level(module: str) -> int:
    """Return how high up the room of a module is."""
    return next(i for i, names in enumerate(LEVELS) if room(module) in names)


def upward() -> list[tuple[str, str]]:
    """Return the imports that lead from a lower room to a higher one."""
    return sorted((here, there) for here, there in arrows() if level(there) > level(here))


def circles() -> list[list[str]]:
    """Return the groups of modules that import one another in a circle."""
    graph: dict[str, set[str]] = {}
    for here, there in arrows():
        graph.setdefault(here, set()).add(there)
    reach = {name: _reached(graph, name) for name in graph}
    return sorted({tuple(sorted(b for b in reach[a] if a in reach.get(b, ()))) for a in graph if a in reach[a]})  # type: ignore[arg-type]


def too_full() -> list[str]:
    """Return the folders of the package with more than MOST_FILES modules."""
    return [str(folder) for folder, count in Counter(path.parent for path in files()).items() if count > MOST_FILES]


def drawing() -> str:
    """Return the rooms and the arrows between them as a Mermaid diagram."""
    between = {(room(a), room(b)) for a, b in arrows() if room(a) != room(b)}
    levels = {room(module_of(path)): level(module_of(path)) for path in files() if path.parent != SOURCE}
    rooms = sorted(levels, key=lambda name: (levels[name], name))
    drawn = [(a, b) for a, b in sorted(between) if a in rooms and b in rooms and not _implied(a, b, between)]
    lines = [*(f"    {name}" for name in rooms), *(f"    {a} --> {b}" for a, b in drawn)]
    return "\n".join(["```mermaid", "flowchart BT", *lines, "```"])


def _implied(a: str, b: str, between: set[tuple[str, str]]) -> bool:
    """Whether a way through other rooms leads from `a` to `b` too: the drawing leaves such an arrow out."""
    graph: dict[str, set[str]] = {}
    for here, there in between:
        if (here, there) != (a, b):
            graph.setdefault(here, set()).add(there)
    return b in _reached(graph, a)


def _reached(graph: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for name in graph.get(waiting.pop(), ()):
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _module(name: str) -> str | None:
    """Return the module of sftlens that a dotted name lies in; None for other packages."""
    parts = name.split(".")
    if parts[0] != "sftlens":
        return None
    for count in range(len(parts), 1, -1):
        path = SOURCE.joinpath(*parts[1:count])
        if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file():
            return ".".join(parts[1:count])
    return None


def page() -> str:
    """Return docs/architecture.md with the rooms as they are."""
    before, rest = PAGE.read_text(encoding="utf-8").split(FROM)
    return before + FROM + "\n" + drawing() + "\n" + TO + rest.split(TO)[1]


def faults() -> list[str]:
    """Return what is wrong with the rooms and their drawing, a line each."""
    found = [f"{a} imports {b}, which is above it" for a, b in upward()]
    found += [f"imports in a circle: {', '.join(group)}" for group in circles()]
    found += [f"{folder} holds more than {MOST_FILES} modules" for folder in too_full()]
    return found + (
        [f"{PAGE} is out of step: python docs/rooms.py"] if page() != PAGE.read_text(encoding="utf-8") else []
    )


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit("\n".join(faults()) or None)
    PAGE.write_text(page(), encoding="utf-8")
