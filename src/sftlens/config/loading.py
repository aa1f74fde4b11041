"""Reading a configuration: errors name the file, the key and the remedy."""

import copy
import difflib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from sftlens.config.experiments import Experiments
from sftlens.config.study import Study
from sftlens.errors import ConfigError, explained
from sftlens.settings import tell_shipped
from sftlens.yaml_file import read_mapping

SHARED = ("scales", "seeds")
"""Keys that can stand once, for every experiment that lists none of its own."""
RENAMED_KEYS = {
    "experiments.restoration.orders": "criteria",
    "experiments.concentration.orders": "criteria",
    "repair.orders": "criteria",
    "repair.region": "regions",
}
"""Keys of an earlier version -> the key that has taken their place; accepted for one version."""
RENAMED_VALUES = {
    "experiments.restoration.criteria": {"shrink": "interpolation"},
    "repair.criteria": {"shrink": "interpolation"},
}
"""Key -> values of an earlier version, in lists too -> the value that has taken their place."""


def load(values: Mapping[str, Any], source: str = "the configuration") -> Study:
    """Return the study that the values of a configuration describe. Raises ConfigError for a fault.

    Names of an earlier version are accepted, with a line on stderr that names the new one.
    """
    try:
        return Study.model_validate(_modern(values, source))
    except OSError as error:  # a path that cannot be looked at
        raise ConfigError(f"{source}: {explained(error)}") from None
    except ValidationError as error:
        faults = error.errors()
        # A misspelt key is also a missing one: the spelling is what helps.
        first = next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])
        alike = [fault for fault in faults if _place(fault) == _place(first)]
        raise ConfigError(f"{source}: {_explain(first, alike)}") from None


def load_file(path: Path) -> Study:
    """Return the study of one YAML file. Raises ConfigError."""
    return load(read_mapping(path, ConfigError), str(path))


def _modern(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return a copy of the values of a configuration under the names of this version, with what stands there once."""
    found = copy.deepcopy(dict(values))

    def holder(key: str) -> tuple[dict[str, Any], str]:
        *place, name = key.split(".")
        at: Any = found
        for part in place:
            at = at.get(part) if isinstance(at, dict) else None
        return (at if isinstance(at, dict) else {}), name

    for key, new in RENAMED_KEYS.items():
        at, old = holder(key)
        if old in at:
            if new in at:
                raise ConfigError(f"{source}: key '{key}' is now called '{new}', and both are there; take '{old}' out")
            print(f"notice: {source}: key '{key}' is now called '{new}'; rename it", file=sys.stderr)
            at[new] = at.pop(old)
    for key, renamed in RENAMED_VALUES.items():
        at, name = holder(key)
        given = at.get(name)
        listed = given if isinstance(given, list) else [given]
        for i, value in enumerate(listed):
            if isinstance(value, str) and value in renamed:
                modern = f"{value!r} is now called {renamed[value]!r}; rename it"
                print(f"notice: {source}: '{key}': {modern}", file=sys.stderr)
                listed[i] = renamed[value]
        if given is not None:
            at[name] = listed if isinstance(given, list) else listed[0]
    facts, experiments = found.get("facts"), found.get("experiments")
    experiments = experiments if isinstance(experiments, dict) else {}
    folder = os.environ.get("ENTITY_QUESTIONS_DIR")
    if folder and isinstance(facts, dict) and facts.get("source") == "entity_questions" and not facts.get("path"):
        facts["path"] = os.path.abspath(folder)
    for name, axes in experiments.items():
        if isinstance(axes, dict) and name in Experiments.model_fields:
            known = _fields_at(("experiments", name))
            experiments[name] = {key: found[key] for key in SHARED if key in found and key in known} | axes
    _tell_shipped(found, f"{source}: '")
    return found


def _tell_shipped(values: Mapping[str, Any], above: str) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping):
            _tell_shipped(value, f"{above}{key}.")
        tell_shipped(f"{above}{key}'", value)


def _place(fault: Mapping[str, Any]) -> tuple[str | int, ...]:
    """Where a fault is; what follows the number in a list is pydantic's name for one of several types."""
    place = tuple(fault["loc"])
    numbers = [i for i, part in enumerate(place) if isinstance(part, int)]
    return place[: numbers[0] + 1] if numbers else place


def _explain(first: Mapping[str, Any], alike: Sequence[Mapping[str, Any]]) -> str:
    place = _place(first)
    key = ".".join(str(part) for part in place)
    if first["type"] == "extra_forbidden":
        known = _fields_at(place[:-1])
        near = difflib.get_close_matches(str(place[-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys here: {', '.join(known)}"
        return f"unknown key '{key}'; {hint}"
    if first["type"] == "missing":
        return f"key '{key}' is missing; add it (config/README.md describes it)"
    known = [choice for fault in alike for choice in re.findall(r"'([^']+)'", fault.get("ctx", {}).get("expected", ""))]
    near = difflib.get_close_matches(str(first["input"]), known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    message = " or ".join(fault["msg"].removeprefix("Value error, ") for fault in alike)
    if not key:
        return message
    shown = "" if isinstance(first["input"], (dict, list, BaseModel)) else f" (it is {first['input']!r})"
    return f"key '{key}'{shown}: {message[0].lower()}{message[1:]}{hint}"


def _fields_at(place: Sequence[str | int]) -> list[str]:
    """Names of the fields of the settings class at a place of the configuration."""
    found: Any = Study
    for part in place:
        # In a mapping (`models`) the part is the name of an entry, which may also be the name of a field.
        entry = get_args(found)[1] if get_origin(found) is dict else found.model_fields[str(part)].annotation
        optional = get_origin(entry) is not dict
        found = next((t for t in get_args(entry) if optional and hasattr(t, "model_fields")), entry)
    return list(found.model_fields)
