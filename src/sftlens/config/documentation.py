"""What describes the configuration, all made from the model of a study: schema, key list, full example."""

import json
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import annotated_types
import yaml
from pydantic import BaseModel

from sftlens.config.study import Study

WIDTH = 108
BOUNDS = {annotated_types.Ge: "≥", annotated_types.Gt: ">", annotated_types.Le: "≤", annotated_types.Lt: "<"}
PLAIN = {int: "whole number", float: "number", str: "text", bool: "`true` or `false`"}
MADE = "made by sftlens config-docs from src/sftlens/config; do not edit"


class Key(NamedTuple):
    """One key: dotted name (`<name>` is one of the user's), what it may be, its default as YAML, and its docstring."""

    name: str
    kind: str
    default: str
    meaning: str


class Section(NamedTuple):
    """The keys of one settings class at one place, whose dotted name is empty at the top, and the class' docstring."""

    name: str
    meaning: str
    keys: list[Key]


def documents(demo: Study) -> dict[str, str]:
    """Return the text of each generated file of config/ by its name; `demo` is the study of config.yaml."""
    head = f"# {MADE[0].upper()}{MADE[1:]}.\n# Every key of the demo (config.yaml) at its value."
    keys = [head, "# yaml-language-server: $schema=schema.json", *_lines(demo, top=True)]
    return {"schema.json": schema(), "README.md": readme(), "all-keys.yaml": "\n".join(keys) + "\n"}


def schema() -> str:
    """Return the JSON schema of a configuration."""
    described = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$comment": MADE}
    return json.dumps({**described, **Study.model_json_schema()}, indent=2, ensure_ascii=False) + "\n"


def readme() -> str:
    """Return the list of all keys as Markdown."""
    parts = [f"<!-- {MADE} -->", Path(__file__).with_name("introduction.md").read_text(encoding="utf-8").rstrip()]
    for section in sections():
        rows = [("key", "values", "default", "meaning")]
        rows += [(f"`{key.name}`", key.kind, key.default, key.meaning) for key in section.keys]
        cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
        widths = [*(max(len(row[i]) for row in cells) for i in range(3)), 0]
        lines = [f"| {' | '.join(map(str.ljust, row, widths))} |" for row in cells]
        lines.insert(1, f"| {' | '.join('-' * (width or 3) for width in widths)} |")
        parts += [f"## `{section.name}`" if section.name else "## At the top", section.meaning, "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def sections(group: type[BaseModel] = Study, name: str = "") -> Iterator[Section]:
    """Yield the sections of the configuration: a settings class, then the classes inside it."""
    inner = {field: _inner(info.annotation) for field, info in group.model_fields.items()}
    prefix = f"{name}." if name else ""
    keys = []
    for field in (field for field, found in inner.items() if found is None):
        info = group.model_fields[field]
        signs = [(sign, getattr(part, kind.__name__.lower(), None)) for part in info.metadata
                 for kind, sign in BOUNDS.items() if isinstance(part, kind)]  # fmt: skip
        allowed = ", ".join([_kind(info.annotation), *(f"{sign} {bound}" for sign, bound in signs)])
        value = None if info.is_required() else info.get_default(call_default_factory=True)
        default = "*required*" if info.is_required() else "*unset*" if value is None else f"`{_yaml(value)}`"
        keys.append(Key(prefix + field, allowed, default, " ".join((info.description or "").split())))
    if keys:
        yield Section(name, group.__doc__ or "", keys)
    for field, found in inner.items():
        if found is not None:
            entry = ".<name>" if get_origin(group.model_fields[field].annotation) is dict else ""
            yield from sections(found, f"{prefix}{field}{entry}")


def _inner(annotation: Any) -> type[BaseModel] | None:
    """The settings class behind `Class`, `Class | None` or `dict[str, Class]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (dict, Union, types.UnionType):
        return next((found for part in get_args(annotation) if (found := _inner(part))), None)
    return None


def _kind(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in inner)
    if origin is list:
        return f"list of: {_kind(inner[0])}"
    if origin is dict:
        return f"mapping: {_kind(inner[0])} to {_kind(inner[1])}"
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(part) for part in inner if part is not type(None))
    return PLAIN[inner[0] if inner else annotation]


def _yaml(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.removesuffix("...\n").strip()


def _lines(settings: BaseModel, top: bool = False) -> Iterator[str]:
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if top:
            yield ""
        yield from textwrap.wrap(field.description or "", WIDTH, initial_indent="# ", subsequent_indent="# ")
        yield from _entry(name, value)
        absent = _inner(field.annotation) if value is None else None
        if absent:
            # What it would hold, to be uncommented in the place of `null`.
            yield from (f"# {line}" for line in _entry(name, absent.model_construct()))


def _entry(name: str, value: Any) -> Iterator[str]:
    inner = value if isinstance(value, dict) else {}
    if isinstance(value, BaseModel) and not type(value).model_fields:
        yield f"{name}: {{}}"
    elif isinstance(value, BaseModel) or any(isinstance(part, BaseModel) for part in inner.values()):
        yield f"{name}:"
        parts = [_lines(value)] if isinstance(value, BaseModel) else [_entry(*item) for item in inner.items()]
        yield from (f"  {line}" for lines in parts for line in lines)
    else:
        yield f"{name}: {_yaml(value)}"
