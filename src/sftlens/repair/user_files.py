"""The files that a user brings: facts, examples of the task with their score, and the two halves of both."""

import hashlib
import re
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sftlens.data import cells, relations, tables
from sftlens.data.question_sets import published
from sftlens.data.scoring import plain
from sftlens.errors import DataError
from sftlens.gate import parse_json
from sftlens.tasks import TASKS, recognised

CHOOSING, REPORTING = "choosing", "reporting"
"""The halves: a setting is chosen on one and reported on the other."""
LEAST = 20
"""Examples that each half needs."""
SAFE = 60
"""As many examples nearly always make two large enough halves."""
LONGEST = 128
"""Tokens of the longest output on an example without a published form, unless it is said."""
EXAMPLE = '{"prompt": "...", "target": "..."} or {"messages": [..., {"role": "assistant", "content": "..."}]}'
_WORD = re.compile(r"\w+")


def half_of(example_id: str) -> str:
    """Return the half of an example, which does not depend on the other examples."""
    return REPORTING if hashlib.sha256(f"half\0{example_id}".encode()).digest()[0] & 1 else CHOOSING


def halves(example_ids: Iterable[str], source: str, what: str) -> np.ndarray:
    """Return the half of each example, text [examples]. Raises DataError where one has fewer than LEAST of `what`."""
    found = np.array([half_of(example_id) for example_id in example_ids])
    sizes = [int((found == half).sum()) for half in (CHOOSING, REPORTING)]
    if min(sizes) < LEAST:
        raise DataError(
            f"{source}: {len(found)} {what} make halves of {sizes[0]} and {sizes[1]}, each needs at least {LEAST}; "
            f"give more ({SAFE} are nearly always enough, several hundred make the intervals useful)"
        )
    return found


def read_facts(path: Path, sentences: Collection[str] = ()) -> pd.DataFrame:
    """Return the facts of a table (`data.tables.facts`) or of a published question set, in its order.

    Columns fact_id (the question, which no two facts share), question, aliases (the accepted answers), object (the
    first of them), relation and subject ("" where no templates need them). `sentences` are the relations with
    completion templates; if any, every fact needs relation and subject. Raises DataError where the file is empty, lacks
    a column, or a fact has no answer or stands there twice, TemplateError where a relation has no templates.
    """
    given = published.read(path)
    facts = tables.facts(path, optional=("relation", "subject"), given=given, unique=given is None)
    facts = facts.assign(fact_id=facts["question"].str.strip(), question=facts["question"].str.strip())
    if given is None:
        tables.refuse_twice(path, facts["question"], facts["question"])
    for name in ("relation", "subject"):
        if sentences and name not in facts:
            raise DataError(
                f"{path}: the facts have no {name}, which templates need; add the column {name!r}, or leave out "
                "--templates (mastery is then few-shot)"
            )
        facts[name] = facts[name].str.strip() if name in facts else ""
    if sentences:
        relations.require_templates(sentences, facts["relation"], path)
    return facts[["fact_id", "question", "aliases", "object", "relation", "subject"]]


def read_task(path: Path, form: str = "", template: str | None = None) -> pd.DataFrame:
    """Return the examples of a JSON lines, CSV, TSV or Parquet file, in its order.

    A row has `prompt` and `target`, or `messages`, of which the last is the assistant's and the target; or the file has
    the published form of a task of `sftlens.tasks`: the one named `form`, else one that its fields show. Inputs of that
    are asked as questions are: in the place of {question} in `template`; None: with the chat template.

    The table has task_id (a hash of the row), prompt (text, or the list of messages before the target), target, and
    form: the published one, "" for any other. Raises DataError where the file is empty, a column is missing or blank,
    or an example stands there twice.
    """
    examples: dict[str, dict[str, Any]] = {}
    places: dict[str, str] = {}
    rows = tables.rows(path)
    if task := TASKS.get(form) if form else recognised([row for _, row in rows]):
        read = task.read(path).to_dict("records")
        asked = [template.format(question=row["question"]) if template else row["question"] for row in read]
        found = [{"prompt": p, "target": row["object"]} for p, row in zip(asked, read, strict=True)]
        rows = [(place, row) for (place, _), row in zip(rows, found, strict=True)]
    for place, row in rows:
        prompt: Any
        if not cells.blank(row.get("messages")):
            messages = _messages(row["messages"])
            if len(messages) < 2 or messages[-1]["role"] != "assistant" or not messages[-1]["content"].strip():
                raise DataError(
                    f"{path}, {place}: 'messages' is no list of {{role, content}} that ends with the assistant's; "
                    f"write {EXAMPLE}"
                )
            prompt, target = messages[:-1], messages[-1]["content"]
        elif {"prompt", "target"} <= set(row):
            prompt = tables.text(path, place, row, "prompt")
            target = tables.text(path, place, row, "target", cells.literal)
        else:
            raise DataError(
                f"{path}: no column 'prompt' and 'target', or 'messages' (there are: {', '.join(row)}); write {EXAMPLE}"
            )
        task_id = hashlib.sha256(f"{prompt}\0{target}".encode()).hexdigest()[:16]
        if (first := places.setdefault(task_id, place)) != place:
            raise DataError(
                f"{path}, {place}: the example {str(prompt)[:60]!r} stands there twice (first in {first}); delete one"
            )
        examples[task_id] = {"task_id": task_id, "prompt": prompt, "target": target.strip()}
    return pd.DataFrame(list(examples.values())).assign(form=task.name if task else "")


def task_file(text: str) -> tuple[str, Path]:
    """Return the form and the path that `gsm8k:FILE` or `FILE` names; "" where the file itself shows its form.

    Raises ConfigError for a task that there is not.
    """
    path = Path(text).expanduser()
    form, colon, rest = text.partition(":")
    if not colon or path.exists() or not form.isidentifier():
        return "", path
    return TASKS.get(form).name, Path(rest).expanduser()


def scorer(form: str, score: str) -> Callable[[str, str], float]:
    """Return the score of an example: of a published form the task's own, else the one named in SCORES."""
    if not form:
        return SCORES[score]
    task = TASKS.get(form)
    return lambda output, target: float(task.judgements[task.score](output, [target]))


def scores_of(tasks: pd.DataFrame, score: str) -> str:
    """Return what the scores of some tasks are called."""
    return ", ".join(dict.fromkeys(TASKS.get(form).score if form else score for form in tasks["form"]))


def longest(tasks: pd.DataFrame | None, said: int | None) -> int:
    """Return how long outputs on some tasks may be, tokens: what the settings say, else what the tasks need."""
    if said:
        return said
    forms = [] if tasks is None else [form for form in tasks["form"].unique() if form]
    return max([LONGEST, *(TASKS.get(form).max_new_tokens for form in forms)])


def _messages(value: Any) -> list[dict[str, Any]]:
    """Return messages as roles and texts: a list or its JSON, contents as texts or as parts; [] for anything else."""
    with suppress(ValueError):
        value = parse_json(value) if isinstance(value, str) else value
    found = []
    for message in value if isinstance(value, list) else []:
        role, content = (message.get(key) if isinstance(message, dict) else None for key in ("role", "content"))
        if isinstance(content, list) and all(isinstance(part, dict) and "text" in part for part in content):
            content = "".join(str(part["text"]) for part in content)
        if not isinstance(content, str) or not isinstance(role, str):
            return []
        found.append({**message, "content": content})
    return found


def rouge_l(output: str, target: str) -> float:
    """Return the ROUGE-L F-measure, 0 to 1: twice the longest common subsequence of words by the words of both.

    Lin, "ROUGE: a package for automatic evaluation of summaries", ACL workshop 2004, with equal weights; words are runs
    of letters and digits in lower case, without stemming. Two texts without words: 1.
    """
    left, right = (_WORD.findall(plain(text).lower()) for text in (output, target))
    if not left and not right:
        return 1.0
    best = [0] * (len(right) + 1)  # longest common subsequence of the words of `left` so far and each start of `right`
    for word in left:
        before = best[:]
        for i, other in enumerate(right):
            best[i + 1] = before[i] + 1 if word == other else max(before[i + 1], best[i])
    return 2 * best[-1] / (len(left) + len(right))


SCORES: dict[str, Callable[[str, str], float]] = {
    "exact": lambda output, target: float(plain(output).strip() == plain(target)),
    "contains": lambda output, target: float(plain(target) in plain(output)),
    "rouge_l": rouge_l,
}
"""(output, target) -> score in [0, 1], by its name, of texts as a reader sees them; case counts but in `rouge_l`."""
