"""Reading a YAML file that must be one mapping, with an error that says where it is not."""

from pathlib import Path
from typing import Any

import yaml

from sftlens.errors import SftlensError

DEEPEST, MOST_VALUES, LARGEST = 100, 1_000_000, 10**100


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]
    """Refuses a repeated key, of which plain YAML silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"repeated key {key.value!r}", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def read_mapping(path: Path, error: type[SftlensError]) -> dict[str, Any]:
    """Return the mapping of a YAML file, its keys being strings.

    Raises `error` naming the file, the place and the remedy when it is missing, malformed or no mapping.
    """
    try:
        value = parse(path.read_text(encoding="utf-8"))
    except OSError as reason:
        raise error(f"{path}: cannot be read ({reason.strerror}); correct the path") from None
    except ValueError as reason:  # no YAML, or no UTF-8
        raise error(f"{path}: not valid YAML ({reason}); correct it there") from None
    if not isinstance(value, dict):
        raise error(f"{path}: holds no mapping but {type(value).__name__}; write `key: value` lines")
    for key in value:
        if not isinstance(key, str):
            raise error(f"{path}: the key {key!r} was read as {type(key).__name__}; put it in quotes")
    return value


def parse(text: str) -> Any:
    """Return the value of a YAML text. Raises ValueError, in one line, for what is no YAML or cannot be kept."""
    try:
        _refuse_depth(text)
        value = yaml.load(text, _Loader)
        _refuse_size(value)
    # What is no YAML, or no number, date or key of Python.
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError) as reason:
        raise ValueError(" ".join(str(reason).split())) from None
    return value


def _refuse_depth(text: str) -> None:
    """Raise ValueError where a text is nested so deeply that libyaml's composer would overflow the stack."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} deep")


def _refuse_size(value: Any) -> None:
    """Raise ValueError where anchors stand for more values than fit, a number is huge or a text is no Unicode."""
    waiting, seen = [value], 0
    while waiting:
        found = waiting.pop()
        seen += 1
        if seen > MOST_VALUES:
            raise ValueError(f"with its anchors it holds more than {MOST_VALUES:,} values")
        if isinstance(found, str):
            found.encode()
        elif isinstance(found, int) and abs(found) >= LARGEST:
            raise ValueError(f"a number has more than {len(str(LARGEST))} digits")
        elif isinstance(found, dict):
            waiting += [*found.keys(), *found.values()]
        elif isinstance(found, list | tuple | set):
            waiting += found
