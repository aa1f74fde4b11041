"""The facts that a user brings: questions with their accepted answers."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd

from sftlens.data import templates
from sftlens.errors import DataError
from sftlens.repair.inputs import rows

SEPARATOR = "|"
EXAMPLE = '{"question": "Where was Ada born?", "answers": ["Oslo", "Christiania"]}'
OPTIONAL = ("relation", "subject")


def read(path: Path, sentences: Collection[str] = ()) -> pd.DataFrame:
    """Return the facts of a CSV or JSON lines file, in its order.

    Columns of the file: `question`; `answers` (a list, or texts with | between them) or `answer`; if known `relation`
    and `subject`; others are ignored.

    Args:
        path: the file.
        sentences: relations that there are completion templates of; if any, every fact needs relation and subject.

    Returns:
        Columns fact_id (the question, which no two facts share), question, aliases (the accepted answers), object (the
        first of them), relation and subject ("" where unknown).

    Raises:
        DataError: the file is empty, lacks a column, or a fact has no answer or stands there twice.
    """
    found = rows.read(path)
    facts = pd.DataFrame([_fact(path, line, row) for line, row in found])
    twice = facts["question"].duplicated()
    if twice.any():
        place = int(twice.to_numpy().argmax())
        raise DataError(
            f"{path}, line {found[place][0]}: the question {facts['question'][place]!r} stands there twice; delete one "
            "(further accepted answers go into the list `answers`)"
        )
    if sentences:
        _require_places(path, facts, sentences)
    return facts


def _fact(path: Path, line: int, row: rows.Row) -> dict[str, Any]:
    if "question" not in row:
        raise rows.missing(path, row, "'question'", EXAMPLE)
    question = rows.text(path, line, row, "question").strip()
    answers = _answers(path, line, row)
    known = {name: str(row.get(name) or "").strip() for name in OPTIONAL}
    return {"fact_id": question, "question": question, "aliases": answers, "object": answers[0], **known}


def _answers(path: Path, line: int, row: rows.Row) -> list[str]:
    name = next((name for name in ("answers", "answer") if name in row), None)
    if name is None:
        raise rows.missing(path, row, "'answers' or 'answer'", EXAMPLE)
    value = row[name]
    listed = value.split(SEPARATOR) if isinstance(value, str) and name == "answers" else value
    texts = [listed] if isinstance(listed, str) else listed
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) and t.strip() for t in texts):
        raise DataError(
            f"{path}, line {line}: column {name!r} holds {value!r}, no answer or a blank one; write at least one text "
            f"(several: a list, or with {SEPARATOR} between them), or delete the row"
        )
    return [t.strip() for t in texts]


def _require_places(path: Path, facts: pd.DataFrame, sentences: Collection[str]) -> None:
    for name in OPTIONAL:
        blank = facts.loc[facts[name] == "", "question"]
        if len(blank):
            raise DataError(
                f"{path}: fact {blank.iloc[0]!r} has no {name}, which templates need; add the column {name!r}, or "
                "leave --templates out (mastery is then few-shot)"
            )
    templates.require(sentences, facts["relation"], path)
