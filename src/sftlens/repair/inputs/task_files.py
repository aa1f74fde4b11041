"""The task that a model was fine-tuned for: its examples, and the score of an output."""

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sftlens.data import tables
from sftlens.errors import DataError

EXAMPLE = '{"prompt": "...", "target": "..."} or {"messages": [..., {"role": "assistant", "content": "..."}]}'
_WORD = re.compile(r"\w+")


def read(path: Path) -> pd.DataFrame:
    """Return the examples of a JSON lines, CSV, TSV or Parquet file, in its order.

    A row has `prompt` and `target`, or `messages`, of which the last is the assistant's and the target.

    Returns:
        Columns task_id (a hash of the row), prompt (text, or the list of messages before the target) and target.

    Raises:
        DataError: the file is empty, a column is missing or blank, or an example stands there twice.
    """
    examples = [_example(path, place, row) for place, row in tables.rows(path)]
    table = pd.DataFrame(examples)
    twice = table["task_id"].duplicated()
    if twice.any():
        prompt = table["prompt"][int(twice.to_numpy().argmax())]
        raise DataError(f"{path}: the example {str(prompt)[:60]!r} stands there twice; delete one")
    return table


def _example(path: Path, place: str, row: tables.Row) -> dict[str, Any]:
    prompt: Any
    if "messages" in row:
        prompt, target = _messages(path, place, row["messages"])
    elif {"prompt", "target"} <= set(row):
        prompt, target = (tables.text(path, place, row, name) for name in ("prompt", "target"))
    else:
        there = ", ".join(row)
        raise DataError(f"{path}: no column 'prompt' and 'target', or 'messages' (there are: {there}); write {EXAMPLE}")
    task_id = hashlib.sha256(f"{prompt}\0{target}".encode()).hexdigest()[:16]
    return {"task_id": task_id, "prompt": prompt, "target": target.strip()}


def _messages(path: Path, place: str, messages: Any) -> tuple[list[dict[str, str]], str]:
    fits = isinstance(messages, list) and len(messages) > 1
    fits = fits and all(isinstance(m, dict) and isinstance(m.get("content"), str) and m.get("role") for m in messages)
    if not fits or messages[-1]["role"] != "assistant" or not messages[-1]["content"].strip():
        raise DataError(
            f"{path}, {place}: 'messages' is no list of {{role, content}} that ends with the assistant's; write "
            f"{EXAMPLE}"
        )
    return messages[:-1], messages[-1]["content"]


def exact(output: str, target: str) -> float:
    """Return 1 if the output, without the white space around it, is the target, else 0."""
    return float(output.strip() == target)


def contains(output: str, target: str) -> float:
    """Return 1 if the output contains the target, case-sensitive, else 0."""
    return float(target in output)


def rouge_l(output: str, target: str) -> float:
    """Return the ROUGE-L F-measure, 0 to 1: twice the longest common subsequence of words by the words of both.

    Lin, "ROUGE: a package for automatic evaluation of summaries", ACL workshop 2004, with equal weights; words are runs
    of letters and digits in lower case, without stemming. Two texts without words: 1.
    """
    left, right = (_WORD.findall(text.lower()) for text in (output, target))
    if not left and not right:
        return 1.0
    return 2 * _common(left, right) / (len(left) + len(right))


def _common(left: Sequence[str], right: Sequence[str]) -> int:
    """Return the length of the longest common subsequence."""
    best = [0] * (len(right) + 1)
    for word in left:
        before = best[:]
        for i, other in enumerate(right):
            best[i + 1] = before[i] + 1 if word == other else max(before[i + 1], best[i])
    return best[-1]


SCORES: dict[str, Callable[[str, str], float]] = {"exact": exact, "contains": contains, "rouge_l": rouge_l}
"""(output, target) -> score in [0, 1], by its name."""
