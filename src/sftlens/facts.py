"""The facts a study asks about: EntityQuestions prepared as the paper's counts require (arXiv 2509.16596, section 3).

Only questions with exactly one gold answer are kept; then, in each split, a question that stands in several
relations (P131 and P276 ask alike) is kept where it comes first. On the published files this leaves 75,944 train,
9,555 test and 11,613 out-of-domain test facts.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from sftlens import entity_questions
from sftlens.entity_questions import Item, Root
from sftlens.errors import DataError
from sftlens.relations import ID_RELATIONS, OOD_RELATIONS, RELATIONS, SPLITS, Relation, subject_of
from sftlens.settings.facts import FactsSettings, Sample
from sftlens.yaml_file import read_mapping

__all__ = [
    "COLUMNS", "ID_RELATIONS", "OOD_RELATIONS", "RELATIONS", "Relation", "VARIABLE",
    "load", "load_aliases", "subject_of",
]  # fmt: skip

VARIABLE = "ENTITY_QUESTIONS_DIR"
"""The environment variable that names the data set when the setting `path` does not."""

COLUMNS = ("fact_id", "split", "relation", "subject", "object", "question", "aliases")

Prepared = dict[str, list[Item]]
"""The items of one split, by relation, in the study's order of the relations."""


def load(settings: FactsSettings, folder: Path | None = None) -> pd.DataFrame:
    """Return the facts of a study, one row each, splits train, dev, test, testood, relations in the study's order.

    `folder` names the data set instead of the settings (the embedded world writes one in the same layout).
    Columns: `fact_id` (`split/relation/position in its file`), `split`, `relation`, `subject`, `object`,
    `question`, and `aliases` (list of the accepted strings, the object first). Raises DataError.
    """
    aliases = load_aliases(Path(settings.aliases)) if settings.aliases else {}
    splits = _read(folder or _location(settings))
    if settings.remove_train_from_test:
        _remove_train_from_test(splits)
    rows = [
        (f"{split}/{relation}/{item.index:05d}", split, relation, item.subject, answer, item.question,
         accepted(answer, aliases))
        for split, prepared in splits.items()
        for relation, items in prepared.items()
        for item in sample(items, settings.sample, split, relation)
        for answer in item.answers
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype({name: "str" for name in COLUMNS if name != "aliases"})


def load_aliases(path: Path) -> dict[str, list[str]]:
    """Return the alias table: object -> its other accepted strings. Raises DataError naming file and key."""
    table = read_mapping(path, DataError)
    for name, others in table.items():
        if not isinstance(others, list) or not all(isinstance(other, str) and other.strip() for other in others):
            raise DataError(
                f"{path}: {name!r} must map to a list of non-empty texts; write `{name}: [other name, ...]`, "
                "with quotes around what YAML reads as a number, a date or a truth value"
            )
    return table


def accepted(answer: str, aliases: dict[str, list[str]]) -> list[str]:
    """Return the strings accepted for an object: itself, then its aliases, each once."""
    return list(dict.fromkeys([answer, *aliases.get(answer, [])]))


def sample(items: list[Item], sizes: Sample, split: str, relation: str) -> list[Item]:
    """Return the drawn items of one relation in file order; all of them where there are no more than asked for.

    The draw depends on seed, split and relation alone, and a smaller sample is part of every larger one.
    """
    size: int = getattr(sizes, split)
    if size == 0 or size >= len(items):
        return items
    digest = hashlib.sha256(f"{sizes.seed}/{split}/{relation}".encode()).digest()
    order = np.random.default_rng(int.from_bytes(digest)).permutation(len(items))
    return [items[position] for position in sorted(order[:size])]


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


def _read(path: Path) -> dict[str, Prepared]:
    """Return the prepared items of every split."""
    with entity_questions.opened(path) as root:
        pairs = [(published, relation) for published, relations in SPLITS.values() for relation in relations]
        entity_questions.require(root, pairs)
        return {split: _prepare(root, published, relations) for split, (published, relations) in SPLITS.items()}


def _prepare(root: Root, published: str, relations: Iterable[str]) -> Prepared:
    """Keep single-answer questions, then the first of equal questions across the relations."""
    seen: set[str] = set()
    prepared: Prepared = {}
    for relation in relations:
        single = [item for item in entity_questions.read(root, published, relation) if len(item.answers) == 1]
        prepared[relation] = [item for item in single if not (item.question in seen or seen.add(item.question))]
    return prepared


def _remove_train_from_test(splits: dict[str, Prepared]) -> None:
    """Drop, in place, the test questions that train asks too."""
    train = {item.question for items in splits["train"].values() for item in items}
    for split in ("test", "testood"):
        splits[split] = {
            relation: [item for item in items if item.question not in train]
            for relation, items in splits[split].items()
        }
