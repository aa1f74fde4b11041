"""The facts a study asks about: EntityQuestions prepared as the paper's counts require (arXiv 2509.16596).

Only questions with exactly one gold answer are kept; then, in each split, a question that stands in several
relations (P131 and P276 ask alike) is kept where it comes first. On the published files this leaves 75,944
train, 9,555 test and 11,613 out-of-domain test facts.
"""

import difflib
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from sftlens.config.data import FactsSettings, Sample
from sftlens.data import entity_questions
from sftlens.data.entity_questions import Item, Root
from sftlens.data.relations import ID_RELATIONS, OOD_RELATIONS, RELATIONS, SPLITS, Relation, subject_of
from sftlens.errors import DataError
from sftlens.yaml_file import read_mapping

__all__ = [
    "ID_RELATIONS", "OOD_RELATIONS", "RELATIONS", "Relation",
    "identity", "load", "load_aliases", "subject_of",
]  # fmt: skip

VARIABLE = "ENTITY_QUESTIONS_DIR"
"""The environment variable that names the data set when the setting `path` does not."""

COLUMNS = ("fact_id", "split", "relation", "subject", "object", "question", "aliases")

FILES = tuple((published, relation) for published, relations in SPLITS.values() for relation in relations)
"""The published files that a study reads: (published split, relation)."""

Items = dict[str, list[Item]]
"""The items of one split, by relation, in the study's order of the relations."""


def load(settings: FactsSettings, folder: Path | None = None) -> pd.DataFrame:
    """Return the facts of a study, one row each, in the order of split, relation and published file.

    `folder` names the data set instead of the settings (the embedded world writes one in the same layout).
    Columns, all text but the last: `fact_id` (`split/relation/position in its file`), `split` (train, dev,
    test, testood), `relation`, `subject`, `object`, `question`, and `aliases` (list of the accepted strings,
    the object first). Raises DataError naming the file, the place in it and the remedy; so it does for
    aliases of an object that is the answer of no question, unless they are allowed.
    """
    aliases = _aliases(settings)
    published = _read(folder or _location(settings))
    if not settings.allow_unknown_aliases:
        _refuse_unknown(aliases, published, settings.aliases)
    splits = {split: _prepare(items) for split, items in published.items()}
    if settings.remove_train_from_test:
        asked = {item.question for items in published["train"].values() for item in items}
        splits |= {split: _without(splits[split], asked) for split in ("test", "testood")}
    rows = [
        (f"{split}/{relation}/{item.position:05d}", split, relation, item.subject, answer, item.question,
         accepted(answer, aliases))
        for split, relations in splits.items()
        for relation, items in relations.items()
        for item in sample(items, settings.sample, split, relation)
        for answer in item.answers
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype({name: "str" for name in COLUMNS if name != "aliases"})


def identity(settings: FactsSettings, folder: Path | None = None) -> str:
    """Return a SHA-256 of what `load` with the same arguments reads: data and aliases. Raises DataError."""
    digest = hashlib.sha256(json.dumps(_aliases(settings)).encode())
    with _opened(folder or _location(settings)) as root:
        digest.update(entity_questions.identity(root, FILES).encode())
    return digest.hexdigest()


def load_aliases(path: Path) -> dict[str, list[str]]:
    """Return the alias table: object -> its other accepted strings. Raises DataError naming file and key."""
    table = read_mapping(path, DataError)
    for name, others in table.items():
        entries = others if isinstance(others, list) else [None]
        if not all(isinstance(entry, str) and entry.strip() for entry in entries):
            raise DataError(
                f"{path}: {name!r} must map to a list of non-empty texts; write `{name}: [other name, ...]`, "
                "with quotes around what YAML reads as a number, a date or a truth value"
            )
    return table


def accepted(answer: str, aliases: dict[str, list[str]]) -> list[str]:
    """Return the strings accepted for an object: itself, then its aliases, each once."""
    return list(dict.fromkeys([answer, *aliases.get(answer, [])]))


def sample(items: list[Item], sizes: Sample, split: str, relation: str) -> list[Item]:
    """Return the drawn items of one relation in file order; all where there are no more than asked for.

    The draw depends on seed, split and relation alone, and a smaller sample is part of every larger one.
    """
    size: int = getattr(sizes, split)
    if size == 0 or size >= len(items):
        return items
    digest = hashlib.sha256(f"{sizes.seed}/{split}/{relation}".encode()).digest()
    order = np.random.default_rng(int.from_bytes(digest)).permutation(len(items))
    return [items[position] for position in sorted(order[:size])]


def _aliases(settings: FactsSettings) -> dict[str, list[str]]:
    return load_aliases(Path(settings.aliases).expanduser()) if settings.aliases else {}


def _refuse_unknown(aliases: dict[str, list[str]], published: dict[str, Items], path: str | None) -> None:
    """Refuse aliases of objects that answer no question, sampled or not: most likely they are misspelt."""
    every = (item for items in published.values() for found in items.values() for item in found)
    objects = {answer for item in every for answer in item.answers}
    unknown = [name for name in aliases if name not in objects]
    if unknown:
        near = difflib.get_close_matches(unknown[0], sorted(objects), n=1)
        others = f" (and {len(unknown) - 1} more of its {len(aliases)} names)" if len(unknown) > 1 else ""
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise DataError(
            f"{path}: {unknown[0]!r}{others} answers no question of the data set; {hint}correct the name, or set "
            "facts.allow_unknown_aliases (by hand: --allow-unknown-aliases) for a file that serves other questions too"
        )


def _location(settings: FactsSettings) -> Path:
    """Return the path of the data set, from the settings or else the environment."""
    if settings.source == "world":
        raise DataError(
            "facts.source is `world`, whose files are made first; give the folder the world was written to, "
            "or set facts.source to `entity_questions`"
        )
    if not (path := settings.path or os.environ.get(VARIABLE)):
        raise DataError(
            "no EntityQuestions data set is named; set facts.path, or the environment variable "
            f"{VARIABLE}, to its folder or to the official zip file"
        )
    return Path(path).expanduser()


def _read(path: Path) -> dict[str, Items]:
    """Return the published items of every split of the study."""
    with _opened(path) as root:
        return {
            split: {relation: entity_questions.read(root, published, relation) for relation in relations}
            for split, (published, relations) in SPLITS.items()
        }


@contextmanager
def _opened(path: Path) -> Iterator[Root]:
    """Yield the data set at `path` once all its files are known to be there."""
    with entity_questions.opened(path) as root:
        entity_questions.require(root, FILES)
        yield root


def _prepare(published: Items) -> Items:
    """Keep single-answer questions, then the first of equal questions across the relations."""
    first: dict[str, tuple[str, int]] = {}
    for relation, items in published.items():
        for item in items:
            if len(item.answers) == 1:
                first.setdefault(item.question, (relation, item.position))
    return {
        relation: [item for item in items if first.get(item.question) == (relation, item.position)]
        for relation, items in published.items()
    }


def _without(items: Items, questions: set[str]) -> Items:
    """Drop the items that ask one of `questions`."""
    return {relation: [item for item in kept if item.question not in questions] for relation, kept in items.items()}
