"""What a program may write over: its own earlier results, and neither an input nor other people's files."""

import os
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from sftlens.errors import ConfigError

WRITTEN = {"out", "summary", "events", "level_map", "json", "csv", "html", "state", "worker", "resume"}
"""Options that name what is written."""
NAMED = {"path", "entity_questions", "table", "aliases", "deepspeed", "answers", "recipe"}
"""Options that name an input as text."""
MARKS = ("sftlens.json", "delta.json", "corpus.txt", "summary.json", "../base.json", "../report.json")
"""Files of which one lies in every folder that a stage makes as a whole, or beside it."""


def check(args: Namespace, outputs: Mapping[str, Path]) -> None:
    """Raise ConfigError where writing `outputs` would change an input or delete a folder that was not made here.

    `outputs` holds the place of each by its name: that of a file has an ending, that of a folder has none.
    """
    given, taken = dict(_inputs(args)), set[Path]()
    for name, target in outputs.items():
        place = Path(os.path.realpath(target))
        if place in taken:
            raise ConfigError(f"{target}: two results would be written there; give each a place of its own")
        taken.add(place)
        for source, option in given.items():
            if source in (place, place.parent) or place in source.parents:
                raise ConfigError(f"{target}: would change an input, {option}; write to another place")
        if not target.is_dir():
            continue
        if Path(name).suffix:
            raise ConfigError(f"{target}: is a folder; give the name of a file")
        with suppress(FileNotFoundError):  # a twin of this job replaces it just now
            if any(target.iterdir()) and not any((target / mark).is_file() for mark in MARKS):
                raise ConfigError(f"{target}: holds files that were not made here; choose a new or empty folder")


def _inputs(args: Namespace) -> Iterator[tuple[Path, str]]:
    """Yield the real place of each input that is there, and the option that names it."""
    for option, value in vars(args).items():
        for item in value if isinstance(value, list) else [value]:
            if option not in WRITTEN and (isinstance(item, Path) or (item and option in NAMED)):
                yield Path(os.path.realpath(os.path.expanduser(item))), f"--{option.replace('_', '-')} {item}"
