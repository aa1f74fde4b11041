"""The facts a study asks about: EntityQuestions prepared as the paper's counts require, or a table of one's own.

Of EntityQuestions only questions with exactly one gold answer are kept; then, in each split, a question that stands in
several relations (P131 and P276 ask alike) is kept where it comes first (paper section 3; the published files then hold
75,944 train, 9,555 test and 11,613 out-of-domain test facts). A table is taken as it is.
"""

import difflib
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sftlens import files
from sftlens.config.stages.data import SLOT, FactsSettings, RelationChoice
from sftlens.data import entity_questions, relations, tables
from sftlens.data.entity_questions import Item
from sftlens.data.relations import Relation
from sftlens.errors import DataError
from sftlens.yaml_file import read_mapping

VARIABLE = "ENTITY_QUESTIONS_DIR"
"""The environment variable that names the data set when the setting `path` does not."""

COLUMNS = ("fact_id", "split", "relation", "subject", "object", "question", "aliases")


@dataclass(frozen=True)
class Source:
    """Where questions come from: the same for EntityQuestions, for a world in its layout and for a table."""

    relations: dict[str, Relation]
    """The study's relations, in-domain ones first."""
    read: Callable[[str, Relation], list[Item]]
    """(published split, relation) -> its items, in file order."""
    content: Callable[[], str]
    """Returns a SHA-256 of all that a study reads."""
    raw: bool
    """Whether questions stand there that the paper's preparation drops."""


def load(settings: FactsSettings, folder: Path | None = None) -> pd.DataFrame:
    """Return the facts of a study, one row each, in the order of split, relation and file.

    `folder` names the data set instead of the settings (the embedded world writes one in the same layout).
    Columns, all text but the last: `fact_id` (`split/relation/position in its file`; a table may bring its own),
    `split` (train, dev, test, testood), `relation`, `subject`, `object`, `question`, and `aliases` (list of the
    accepted strings, the object first). Raises DataError naming the file, the place in it and the remedy; so it does
    for aliases of an object that is the answer of no question, unless they are allowed.
    """
    aliases = _aliases(settings)
    with opened(settings, folder) as source:
        read = [
            (split, relation.id, *item)
            for split, (name, members) in relations.splits(source.relations.values()).items()
            for relation in members
            for item in source.read(name, relation)
        ]
    table = pd.DataFrame(read, columns=["split", "relation", *Item._fields])
    if not settings.allow_unknown_aliases:
        # Aliases of objects that answer no question, sampled or not, are most likely misspelt.
        objects = {answer for answers in table["answers"] for answer in answers}
        if unknown := [name for name in aliases if name not in objects]:
            near = difflib.get_close_matches(unknown[0], sorted(objects), n=1)
            others = f" (and {len(unknown) - 1} more of its {len(aliases)} names)" if len(unknown) > 1 else ""
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise DataError(
                f"{settings.aliases}: {unknown[0]!r}{others} answers no question of the data set; {hint}correct the "
                "name, or set facts.allow_unknown_aliases (by hand: --allow-unknown-aliases) for a file that serves "
                "other questions too"
            )
    trained = table.loc[table["split"] == "train", "question"]
    if source.raw:
        # Single-answer questions, then the first of equal questions across the relations.
        table = table[table["answers"].map(len) == 1].drop_duplicates(["split", "question"])
    if settings.remove_train_from_test:
        table = table[table["split"].isin(["train", "dev"]) | ~table["question"].isin(trained)]
    # The draw depends on seed, split and relation alone, and a smaller sample is part of every larger one.
    kept: list[int] = []
    table = table.reset_index(drop=True)
    for (split, relation), rows in table.groupby(["split", "relation"], sort=False):
        digest = hashlib.sha256(f"{settings.sample.seed}/{split}/{relation}".encode()).digest()
        size = getattr(settings.sample, split) or len(rows)
        drawn = np.random.default_rng(int.from_bytes(digest)).permutation(len(rows))[:size]
        kept += rows.index[np.sort(drawn)].tolist()
    table = table.iloc[kept].reset_index(drop=True)
    numbered = zip(*(table[name] for name in ("fact_id", "split", "relation", "position")), strict=True)
    table["fact_id"] = [own or f"{split}/{relation}/{number:05d}" for own, split, relation, number in numbered]
    table["object"] = [answers[0] for answers in table["answers"]]
    table["aliases"] = [accepted(answers, aliases) for answers in table["answers"]]
    return table[list(COLUMNS)].astype({name: "str" for name in COLUMNS if name != "aliases"})


def spare(settings: FactsSettings) -> dict[str, list[Item]]:
    """Return the dev items of every relation with one answer that their subject does not hold. Raises DataError."""
    with opened(settings, every_dev=True) as source:
        return {
            name: [
                item
                for item in source.read("dev", relation)
                if (not source.raw or len(item.answers) == 1) and item.answers[0] not in item.subject
            ]
            for name, relation in source.relations.items()
        }


def identity(settings: FactsSettings, folder: Path | None = None) -> str:
    """Return a SHA-256 of what `load` with the same arguments reads: data, relations, aliases. Raises DataError."""
    with opened(settings, folder) as source:
        questions = [[relation.id, relation.question, relation.domain] for relation in source.relations.values()]
        parts = [json.dumps(_aliases(settings)), json.dumps(questions), source.content()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


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


def accepted(answers: list[str], aliases: dict[str, list[str]]) -> list[str]:
    """Return the strings accepted for a fact: its answers, then the aliases of the first of them, each once."""
    return list(dict.fromkeys([*answers, *aliases.get(answers[0], [])]))


def _aliases(settings: FactsSettings) -> dict[str, list[str]]:
    return load_aliases(Path(settings.aliases).expanduser()) if settings.aliases else {}


@contextmanager
def opened(settings: FactsSettings, folder: Path | None = None, every_dev: bool = False) -> Iterator[Source]:
    """Yield the source of a study's questions once all its files are known to be there. Raises DataError.

    `every_dev`: the dev files of the out-of-domain relations are needed too.
    """
    path = folder or location(settings)
    if settings.source == "table" and folder is None:
        yield _table(path, settings.relations)
        return
    chosen = relations.chosen(settings)
    needed = [
        (name, relation.id) for name, members in relations.splits(chosen.values()).values() for relation in members
    ]
    with entity_questions.opened(path) as root:
        entity_questions.require(root, [*needed, *[("dev", name) for name in chosen if every_dev]])
        if not settings.relations.named:
            entity_questions.refuse_unread(root, chosen)
        yield Source(
            chosen,
            lambda split, relation: entity_questions.read(root, split, relation),
            lambda: entity_questions.identity(root, needed),
            raw=True,
        )


def location(settings: FactsSettings) -> Path:
    """Return the path of the data, from the settings or else the environment. Raises DataError."""
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


def _table(path: Path, choice: RelationChoice) -> Source:
    """Return the facts of a user's table; rows of relations that `choice` leaves out are not asked."""
    table = tables.facts(path, ["split", "relation", "subject"], ["domain"])
    published = table["split"].replace({"testood": "test"})
    tables.refuse_twice(path, published + "/" + table["question"], table["question"])
    own_ids = not (table["fact_id"] == table["split"] + "/" + table["question"]).all()
    items: dict[tuple[str, str], list[Item]] = defaultdict(list)
    columns = zip(
        published, *(table[name] for name in ("relation", "subject", "question", "aliases", "fact_id")), strict=True
    )
    for position, (split, relation, subject, question, answers, fact_id) in enumerate(columns):
        found = items[split, relation]
        found.append(Item(position, subject, question, list(answers), fact_id if own_ids else ""))
    domains = _domains(path, table, choice)
    if slashed := [name for name in domains if "/" in name]:
        raise DataError(
            f"{path}: relation {slashed[0]!r} has a slash in its name, which fact_id cannot hold; rename it"
        )
    ordered = sorted(choice.named or domains, key=lambda name: domains[name] != "id")
    return Source(
        {name: Relation(name, SLOT, domains[name]) for name in ordered},
        lambda split, relation: items[split, relation.id],
        lambda: files.sha256(path),
        raw=False,
    )


def _domains(path: Path, table: pd.DataFrame, choice: RelationChoice) -> dict[str, str]:
    """Return the domain of each relation: what `choice` says, else the column `domain`, else what the splits show."""
    domains: dict[str, str] = dict.fromkeys(table["relation"], "id")
    for name in choice.named:
        if name not in domains:
            raise DataError(f"{path}: no fact is of relation {name!r}; correct facts.relations, or add facts")
    shown = {"train": "id", "test": "id", "testood": "ood"}
    stated = table["domain"] if "domain" in table else table["split"].map(shown).dropna()
    for name, values in stated.groupby(table["relation"], sort=False):
        said = set(values)
        if len(said) > 1 and name not in choice.named:
            raise DataError(
                f"{path}: relation {name!r} is in-domain in some rows and out-of-domain in others (split testood, or "
                "column domain); correct these rows, or list it in facts.relations as `id` or `ood`"
            )
        domains[str(name)] = said.pop()
    return domains | dict.fromkeys(choice.id, "id") | dict.fromkeys(choice.ood, "ood")
