"""Model cards: the head that the hub reads of a model made from another one, and rows of a table that hold any text."""

import re
from pathlib import Path
from typing import Any

import yaml

from sftlens import yaml_file
from sftlens.models.identity import resolve
from sftlens.models.sources import hub

LICENCE = ("license", "license_name", "license_link")
"""Keys of a card's head that say under which terms a model may be used."""
UNKNOWN = "unknown"
_SNAPSHOT = re.compile(r"models--(?P<organisation>[^/]+?)--(?P<name>[^/]+)/snapshots/[^/]+/?$")


def name_of(base: Path) -> str:
    """Return what a card calls a base model: its id on the hub where it came from there, else its folder as given."""
    found = _SNAPSHOT.search(str(base)) or _SNAPSHOT.search(str(resolve(base)))
    return f"{found['organisation']}/{found['name']}" if found else str(base)


def licence_of(base: Path) -> dict[str, Any]:
    """Return what the card of a base model says of its licence: those of LICENCE; `license: unknown` for nothing."""
    folder, head = resolve(base), None
    card = next((path for path in (folder / hub.CARD, hub.card(folder)) if path.is_file()), None)
    if card and (found := re.match(r"---\n(.*?)\n---", card.read_text("utf-8", errors="replace"), re.DOTALL)):
        try:
            head = yaml_file.parse(found[1])
        except ValueError:
            head = None  # a card that nothing reads is no fault of the model's
    said = {key: head[key] for key in LICENCE if head.get(key)} if isinstance(head, dict) else {}
    return said or {"license": UNKNOWN}


def head(base: Path, library: str = "transformers") -> str:
    """Return the head of a card of a model made from `base`: library, base_model, licence, tags."""
    made = {"library_name": library, "base_model": name_of(base), **licence_of(base)}
    made |= {"pipeline_tag": "text-generation", "tags": ["parameter-restoration"]}
    return f"---\n{yaml.safe_dump(made, sort_keys=False, allow_unicode=True)}---\n"


def cell(value: object) -> str:
    """Return a value as the text of a table's cell: a `|` in it would end the cell, a line break the row."""
    return " ".join(str(value).split()).replace("|", "\\|")
