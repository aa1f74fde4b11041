"""What one cell of a table may hold, by its column: accepted answers in the forms people keep them in, counts, names.

Answers are a text or a number, a list of them (JSON, Python's or numpy's way of printing one, an array), texts with |
between them, SQuAD's `{"text": [...]}` (arXiv 1606.05250) or TriviaQA's `{"value": ..., "aliases": [...]}` (arXiv
1705.03551), as they are or as JSON in a cell.
"""

import ast
import io
import json
import math
import re
import tokenize
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from sftlens.data.buckets import BUCKETS
from sftlens.data.scoring import plain

SEPARATOR = "|"
"""Between several texts in one cell."""
_FORMS = '{"text": [...]} or {"value": ..., "aliases": [...]}'
_STRUCTURED = re.compile(
    r"""[\[{]\s*(["'\[\]{}\d-]|array\()|\[\s*[\[{]|array\(\[|\(\s*(["']).*\2\s*,?\s*\)$|"[^"]*"$""", re.DOTALL
)
"""How a list, a tuple, an object or a text in JSON's quotes looks; `[REC]`, the name of a film, does not."""
_ARRAY = re.compile(r"\barray\((\[[^\[\]]*\])(?:,\s*dtype=\w+)?\)")
"""An array as numpy prints one inside of an object."""


def blank(value: Any) -> bool:
    """Whether a cell holds nothing: no value, NaN, white space, or what no reader sees."""
    if isinstance(value, str):
        return not plain(value).strip()
    return value is None or (isinstance(value, float) and value != value)


def text(value: Any) -> str:
    """Return a text that is not blank. Raises ValueError."""
    if isinstance(value, str) and not blank(value):
        return value
    raise ValueError("no text; write one (a number in quotes)")


def answers(value: Any, separator: str = SEPARATOR) -> list[str]:
    """Return the accepted answers in a cell, each once, the first being the object. Raises ValueError."""
    found = [literal(entry) for entry in _entries(value, separator)]
    if not found:
        raise ValueError(f"no answer; write at least one text (several: a list, or with {SEPARATOR} between them)")
    # A column of whole numbers with a gap is written as 1969.0 by pandas.
    found += [name.partition(".")[0] for name in found if re.fullmatch(r"-?\d+\.0+", name)]
    return list(dict.fromkeys(found))


def literal(value: Any) -> str:
    """Return a text or a number as text, whole numbers without a point, no white space around. Raises ValueError."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return str(int(value)) if value == int(value) and abs(value) < 1e15 else str(value)
    if isinstance(value, str) and not blank(value):
        return value.strip()
    kind = "a blank answer" if blank(value) else f"an answer that is no text ({value!r:.40})"
    raise ValueError(f"{kind}; write at least one text (several: a list, or with {SEPARATOR} between them)")


def _entries(value: Any, separator: str) -> list[Any]:
    if isinstance(value, str):
        if _STRUCTURED.match(value.strip()):
            return _entries(_structure(value.strip()), separator)
        return value.split(separator) if separator else [value]
    if isinstance(value, dict):
        by_name = {str(name).lower(): entry for name, entry in value.items()}
        if "text" in by_name:
            return _plain_list(by_name["text"])
        if "value" in by_name:
            return [by_name["value"], *_plain_list(by_name.get("aliases", []))]
        raise ValueError(f"an object with {', '.join(by_name) or 'nothing in it'}; write a list, {_FORMS}")
    found = []
    for entry in _plain_list(value):
        found += _entries(entry, "") if isinstance(entry, dict) else [entry]
    return found


def _plain_list(value: Any) -> list[Any]:
    """Return a list, an array or the one value that stands in the place of a list, with numpy's numbers as Python's."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _structure(cell: str) -> Any:
    """Return the list or object that a cell spells, in JSON, or as Python or numpy print it. Raises ValueError."""
    with suppress(ValueError, RecursionError):
        return json.loads(cell)
    cell = _ARRAY.sub(r"\1", cell)
    with suppress(ValueError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError):
        found = ast.literal_eval(cell)
        # numpy prints no commas, and Python joins texts that stand side by side: ['Oslo' 'Rome'].
        words = [t.string for t in tokenize.generate_tokens(io.StringIO(cell).readline) if t.type == tokenize.STRING]
        joined = isinstance(found, list) and "..." not in cell and len(words) > len(found)
        if not joined or all(isinstance(entry, str) for entry in found):
            return [ast.literal_eval(word) for word in words] if joined else found
    raise ValueError('a list or an object that cannot be read; write JSON, such as ["Oslo", "Christiania"]')


def names(value: Any) -> list[str]:
    """Return other accepted names, none for a blank cell or an empty list. Raises ValueError."""
    listed = value.tolist() if hasattr(value, "tolist") else value
    return [] if listed in ([], "[]") or blank(listed) else answers(value)


def whole(value: Any) -> int:
    """Return a whole number from 0 on. Raises ValueError."""
    with suppress(TypeError, ValueError, OverflowError):
        if not isinstance(value, bool) and float(value) == int(value) >= 0:
            return int(value)
    raise ValueError("no whole number from 0 on; write one")


def share(value: Any) -> float:
    """Return a number from 0 to 1. Raises ValueError."""
    with suppress(TypeError, ValueError):
        if not isinstance(value, bool) and 0 <= float(value) <= 1:
            return float(value)
    raise ValueError("no share from 0 to 1; write one")


def wholes(value: Any) -> list[int]:
    """Return a list of whole numbers, as it is or as JSON. Raises ValueError."""
    listed = _structure(value.strip()) if isinstance(value, str) else value
    return [whole(entry) for entry in _plain_list(listed)]


def one_of(*values: str) -> Callable[[Any], str]:
    """Return the reader of a column that holds one of some names."""

    def parse(value: Any) -> str:
        if isinstance(value, str) and value in values:
            return value
        raise ValueError(f"none of {', '.join(values)}; write one")

    return parse


_one = partial(answers, separator="")
TYPES: dict[str, Callable[[Any], Any]] = {
    "aliases": names, "answers": answers, "answer": _one, "object": _one, "hits": whole, "trials": whole,
    "mastery": share, "template_hits": wholes, "template_trials": wholes, "exposure": whole, "bucket": one_of(*BUCKETS),
    "split": one_of("train", "dev", "test", "testood"), "domain": one_of("id", "ood"),
    "phase": whole, "part_share": share, "part_facts": whole, "answer_probability": share, "low": share, "high": share,
    **{f"posterior_{name}": share for name in BUCKETS},
}  # fmt: skip
"""How the values of a column are read; every other column that a program asks for is text."""
