"""How much a study asks, before anything is made: its relations, questions and templates."""

from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from sftlens.config.study import Model, Study
from sftlens.data import relations as data_relations
from sftlens.data import tables
from sftlens.errors import DataError

ENTITY_QUESTIONS = {"train": 75_944, "test": 9_555, "testood": 11_613}
"""Prepared facts of the published files, all relations together (paper section 3)."""


def relations(study: Study) -> dict[str, int]:
    """Return how many relations the facts of each split have. Raises DataError for a table that cannot be read."""
    if study.facts.source == "table":
        found = _of_table(str(study.facts.path))
        return {split: len({relation for relation, at in found if at == split}) for split in ENTITY_QUESTIONS}
    return _by_split(data_relations.chosen(study.facts))


def questions(study: Study) -> Mapping[str, int]:
    """Return how many questions of each split a study asks, at most. Raises DataError as `relations` does."""
    counts, sizes = relations(study), study.facts.sample
    if study.facts.source == "world":
        return {split: getattr(study.world, split) * count for split, count in counts.items()}
    if study.facts.source == "table":
        found = _of_table(str(study.facts.path))
        there = {split: sum(count for (_, at), count in found.items() if at == split) for split in counts}
    else:
        shipped = _by_split(data_relations.RELATIONS)
        there = {split: ENTITY_QUESTIONS[split] * count // shipped[split] for split, count in counts.items()}
    return {split: min(getattr(sizes, split) * count or there[split], there[split]) for split, count in counts.items()}


def _by_split(chosen: Mapping[str, data_relations.Relation]) -> dict[str, int]:
    domains = [relation.domain for relation in chosen.values()]
    return {split: domains.count("ood" if split == "testood" else "id") for split in ENTITY_QUESTIONS}


def templates(study: Study, model: Model) -> int:
    """Return how many completion templates probe a relation, at most. Raises TemplateError."""
    most = most_templates(model.templates or study.templates)
    return min(most, study.probing.max_templates or most)


@cache
def most_templates(path: str) -> int:
    """Return how many completion templates a file has for a relation, at most. Raises TemplateError."""
    return max(map(len, data_relations.load_templates(Path(path)).values()))


@cache
def _of_table(path: str) -> Counter[tuple[str, str]]:
    """Return the facts of each (relation, split) of a table; the splits as they stand there."""
    try:
        return Counter((str(row.get("relation")), str(row.get("split"))) for _, row in tables.rows(Path(path)))
    except ImportError as error:
        raise DataError(f"{path}: {error}; to plan on Parquet install pandas and pyarrow, or give CSV") from None
