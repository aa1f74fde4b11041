"""Judging an output: which answers are accepted, and does it contain one (arXiv 2509.16596)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sftlens.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def contains(output: str, aliases: Sequence[str]) -> bool:
    """Whether `output` contains one of the accepted strings as it stands: raw substring, case-sensitive."""
    return any(alias in output for alias in aliases)


def accepted(facts: "pd.DataFrame") -> list[list[str]]:
    """Return the accepted strings of each fact: its aliases, or its object alone in a table without aliases.

    Raises DataError where there is none, or an empty one, which any output would contain.
    """
    column = "aliases" if "aliases" in facts else "object"
    if column not in facts:
        raise DataError("the facts have no column 'aliases' or 'object'; make them with scripts/facts.py")
    answers = [[value] if column == "object" else value for value in facts[column]]
    for fact_id, strings in zip(facts["fact_id"], answers, strict=True):
        if isinstance(strings, str | None) or not len(strings) or not all(map(_is_text, strings)):
            raise DataError(
                f"fact {fact_id!r}: column {column!r} holds {strings!r}, no list of non-empty texts; make "
                "the facts again with scripts/facts.py"
            )
    return [list(strings) for strings in answers]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""
