"""The facts that a user brings: questions with their accepted answers."""

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from sftlens.data import tables, templates
from sftlens.errors import DataError

PLACES = ("relation", "subject")


def read(path: Path, sentences: Collection[str] = ()) -> pd.DataFrame:
    """Return the facts of a table (`data.tables.facts`), in its order.

    Args:
        path: the file.
        sentences: relations that there are completion templates of; if any, every fact needs relation and subject.

    Returns:
        Columns fact_id (the question, which no two facts share), question, aliases (the accepted answers), object (the
        first of them), relation and subject ("" where no templates need them).

    Raises:
        DataError: the file is empty, lacks a column, or a fact has no answer or stands there twice.
        TemplateError: a relation has no templates.
    """
    facts = tables.facts(path, optional=PLACES)
    facts = facts.assign(fact_id=facts["question"].str.strip(), question=facts["question"].str.strip())
    facts["aliases"] = [[name.strip() for name in names] for names in facts["aliases"]]
    facts["object"] = facts["object"].str.strip()
    if (twice := facts["question"].duplicated()).any():
        question = facts["question"][int(twice.to_numpy().argmax())]
        raise DataError(
            f"{path}: the question {question!r} stands there twice; delete one (more answers go into a list)"
        )
    for name in PLACES:
        if sentences and name not in facts:
            raise DataError(
                f"{path}: the facts have no {name}, which templates need; add the column {name!r}, or leave out "
                "--templates (mastery is then few-shot)"
            )
        facts[name] = facts[name].str.strip() if name in facts else ""
    if sentences:
        templates.require(sentences, facts["relation"], path)
    return facts[["fact_id", "question", "aliases", "object", *PLACES]]
