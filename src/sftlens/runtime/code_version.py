"""A fingerprint of the code that a stage's result depends on: it changes with the meaning, not the words.

Comments, docstrings, formatting and the order of imports do not enter; neither do the rooms that cannot
change a result (progress, provenance, errors, the running of stages).
"""

import ast
import hashlib
import re
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path

PACKAGE = "sftlens"
ROOMS = (
    "runtime",
    "runtime.launch",
    "errors",
    "training.time_limit",
    *(f"runtime.{n}" for n in ("progress", "provenance", "stages", "lock", "launch")),
)
# The package itself holds nothing but its version.
DATA_FILE = re.compile(r"[\w-]+\.(html|css|csv)")
LEFT_OUT = {PACKAGE, *(f"{PACKAGE}.{room}" for room in ROOMS)}
# Where a node stands and how it was spelt say nothing about what it does.
IGNORED_FIELDS = {"ctx", "kind", "type_comment", "type_ignores"}


def of_script(script: Path, source: Path) -> str:
    """Return sixteen hexadecimal digits for a script and all library modules that it reaches.

    Args:
        script: entry point of the stage.
        source: folder that holds the package `sftlens`.
    """
    digest = hashlib.sha256(_digest(script).encode())
    for module in sorted(_reachable(script, source)):
        digest.update(f"{module}={_digest(_path(module, source))}\n".encode())
    return digest.hexdigest()[:16]


def of_module(name: str) -> str:
    """Return the same for a module of the library, such as `completions`."""
    source = Path(__file__).resolve().parents[2]
    return of_script(_path(f"{PACKAGE}.{name}", source), source)


def _reachable(script: Path, source: Path) -> set[str]:
    found: set[str] = set()
    waiting = [script]
    while waiting:
        for module in _imports(waiting.pop(), source):
            if module not in found:
                found.add(module)
                waiting.append(_path(module, source))
    return found


@cache
def _imports(path: Path, source: Path) -> frozenset[str]:
    names: set[str] = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    ours = {part for name in names if name.split(".")[0] == PACKAGE for part in _with_packages(name)}
    return frozenset(name for name in ours if name not in LEFT_OUT and _path(name, source).is_file())


def _with_packages(module: str) -> Iterator[str]:
    """A module and the packages it lies in, whose code runs when it is imported."""
    parts = module.split(".")
    return (".".join(parts[: i + 1]) for i in range(len(parts)))


def _path(module: str, source: Path) -> Path:
    base = source.joinpath(*module.split("."))
    package = base / "__init__.py"
    return package if package.is_file() else base.with_suffix(".py")


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    for token in _tokens(_tree(path)):
        digest.update(token.encode() + b"\0")
    for data in _data_files(path):
        digest.update(data.read_bytes())
    return digest.hexdigest()


def _data_files(path: Path) -> list[Path]:
    """Files beside a module that it names, such as the page's template: part of what it does."""
    words = {node.value for node in ast.walk(_tree(path)) if isinstance(node, ast.Constant)}
    names = sorted(word for word in words if isinstance(word, str) and DATA_FILE.fullmatch(word))
    return [path.parent / name for name in names if (path.parent / name).is_file()]


def _tokens(value: object) -> Iterator[str]:
    # Not ast.dump: its text differs between versions of Python.
    if isinstance(value, ast.AST):
        yield type(value).__name__
        for name, child in ast.iter_fields(value):
            if name not in IGNORED_FIELDS and child not in (None, []):
                yield name
                yield from _tokens(child)
        yield ")"
    elif isinstance(value, list):
        for is_import, items in groupby(value, lambda item: isinstance(item, ast.Import | ast.ImportFrom)):
            if is_import:
                yield from sorted(name for item in items for name in _imported(item))
                continue
            for item in items:
                if not _is_bare_string(item):
                    yield from _tokens(item)
        yield "]"
    else:
        yield f"{type(value).__name__}:{value!r}"


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """One text for each imported name: in which order or on how many lines they stand does not matter."""
    module = f"{'.' * node.level}{node.module or ''}" if isinstance(node, ast.ImportFrom) else None
    return (f"import {module} {alias.name} {alias.asname}" for alias in node.names)


def _is_bare_string(node: object) -> bool:
    """Docstrings, also those under attributes: strings that stand alone as a statement."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
