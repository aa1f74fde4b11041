"""Reading a configuration: errors name the file, the key and the remedy."""

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from sftlens.errors import ConfigError
from sftlens.grid.study import Study


def load(values: Mapping[str, Any], source: str = "the configuration") -> Study:
    """Return the study that the values of a configuration describe. Raises ConfigError for the first fault."""
    try:
        return Study.model_validate(_expanded(dict(values)))
    except ValidationError as error:
        raise ConfigError(f"{source}: {_explain(error.errors()[0])}") from None


def load_file(path: Path) -> Study:
    """Return the study of one YAML file."""
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; correct the path") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML ({' '.join(str(error).split())}); correct it there") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a configuration is a mapping of keys; see config/README.md")
    return load(values, str(path))


def _expanded(values: dict[str, Any]) -> dict[str, Any]:
    facts = values.get("facts")
    if isinstance(facts, dict) and facts.get("source") == "entity_questions" and not facts.get("path"):
        folder = os.environ.get("ENTITY_QUESTIONS_DIR")
        if folder:
            values["facts"] = {**facts, "path": os.path.abspath(folder)}
    return values


def _explain(error: Mapping[str, Any]) -> str:
    place = error["loc"]
    key = ".".join(str(part) for part in place)
    if error["type"] == "extra_forbidden":
        known = _fields_at(place[:-1])
        near = difflib.get_close_matches(str(place[-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys here: {', '.join(known)}"
        return f"unknown key '{key}'; {hint}"
    if error["type"] == "missing":
        return f"key '{key}' is missing; add it (config/README.md describes it)"
    message = error["msg"].removeprefix("Value error, ")
    if not key:
        return message
    shown = "" if isinstance(error["input"], (dict, list, BaseModel)) else f" (it is {error['input']!r})"
    return f"key '{key}'{shown}: {message[0].lower()}{message[1:]}"


def _fields_at(place: Sequence[str | int]) -> list[str]:
    """Names of the fields of the settings class at a place of the configuration."""
    found: Any = Study
    for part in place:
        fields = found.model_fields if isinstance(found, type) and issubclass(found, BaseModel) else {}
        found = _class_of(fields[part].annotation) if part in fields else found
    return list(found.model_fields)


def _class_of(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        found = _class_of(inner)
        if found is not None:
            return found
    return None
