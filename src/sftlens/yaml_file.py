"""Reading a YAML file that must be one mapping, with an error that says where it is not."""

from pathlib import Path
from typing import Any

import yaml

from sftlens.errors import SftlensError


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
        value = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as reason:
        raise error(f"{path}: cannot be read ({reason.strerror}); correct the path") from None
    except (yaml.YAMLError, UnicodeDecodeError) as reason:
        raise error(f"{path}: not valid YAML ({' '.join(str(reason).split())}); correct it there") from None
    if not isinstance(value, dict):
        raise error(f"{path}: holds no mapping but {type(value).__name__}; write `key: value` lines")
    for key in value:
        if not isinstance(key, str):
            raise error(f"{path}: the key {key!r} was read as {type(key).__name__}; put it in quotes")
    return value
