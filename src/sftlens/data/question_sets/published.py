"""Question sets as their authors publish them, read as rows of `question` and `answers`.

What a set is told by is its columns, never its file's name. A question that a set asks twice (there are names that
two people bear) is asked once, with the answers of both. Questions without an answer (SQuAD 2.0) are left out.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sftlens.data import cells
from sftlens.data.rows import Row, kind, rows, whole
from sftlens.errors import DataError
from sftlens.files import read_json

Places = Iterator[tuple[str, Row]]
METADATA = "metadata_relations.json"
"""Of BEAR: its relations with their sentences, beside a file of facts for each."""


def read(path: Path) -> list[tuple[str, Row]] | None:
    """Return (place, row) of each question of a published set in our columns; None for a table of another kind.

    Columns question, answers (what `cells.answers` takes) and, where the set has them, relation and subject.
    Raises DataError.
    """
    found = _form(path)
    if found is None:
        return None
    merged: dict[str, tuple[str, Row]] = {}
    for place, row in found:
        question = row["question"].strip() if isinstance(row["question"], str) else row["question"]
        _, first = merged.setdefault(question, (place, row))
        if first is not row:
            try:
                first["answers"] = list(
                    dict.fromkeys([*cells.answers(first["answers"]), *cells.answers(row["answers"])])
                )
            except ValueError as error:
                raise DataError(f"{path}, {place}: {error}, or delete the row") from None
    if not merged:
        raise DataError(f"{path}: holds no question with an answer; give a split that has answers")
    return list(merged.values())


def _form(path: Path) -> Places | None:
    """Return the rows of a published set, read by its own form; None where it has none of these."""
    if path.is_dir():
        return _bear(path, sorted(path.glob("*.jsonl"), key=lambda file: [len(file.name), file.name]))
    if kind(path) == "jsonl" and (path.parent / METADATA).is_file():
        return _bear(path.parent, [path])
    value = whole(path)
    if isinstance(value, dict):
        if isinstance(items := value.get("Data"), list):
            return _trivia_qa(path, items)
        if isinstance(items := value.get("data"), list):
            return _squad(path, items)
        return None
    found = rows(path)
    columns = set().union(*(row for _, row in found))
    for names, form in _ROWS.items():
        if set(names) <= columns:
            return ((place, made) for place, row in found if (made := form(row)) is not None)
    return None


def _pop_qa(row: Row) -> Row:
    return {"question": row["question"], "answers": row["possible_answers"],
            "relation": row.get("prop"), "subject": row.get("subj")}  # fmt: skip


def _squad_row(row: Row) -> Row | None:
    """Return a row of the form {question, context, answers: {text: [...]}}; None for one without an answer."""
    answers = row["answers"]
    empty = isinstance(answers, dict) and "text" in answers and not len(answers["text"])
    return None if empty or _EMPTY.match(str(answers)) else {"question": row["question"], "answers": answers}


_EMPTY = re.compile(r"""\{['"]text['"]: *(array\()?\[\]""")
"""How an object without answers begins in a cell of a CSV file."""
_ROWS: dict[tuple[str, ...], Callable[[Row], Row | None]] = {
    ("question", "possible_answers"): _pop_qa,
    ("problem", "answer"): lambda row: {"question": row["problem"], "answers": [row["answer"]]},
    ("question", "context", "answers"): _squad_row,
}
"""Columns -> how a row with them becomes one of ours: PopQA, SimpleQA, SQuAD."""


def _trivia_qa(path: Path, items: list[Any]) -> Places:
    for number, item in enumerate(items, 1):
        if not isinstance(item, dict) or not {"Question", "Answer"} <= set(item):
            raise DataError(f"{path}, item {number} of Data: has no Question with an Answer; give a split with answers")
        yield f"item {number}", {"question": item["Question"], "answers": item["Answer"]}


def _squad(path: Path, articles: list[Any]) -> Places:
    try:
        for number, article in enumerate(articles, 1):
            for paragraph in article["paragraphs"]:
                for asked in paragraph["qas"]:
                    texts = [answer["text"] for answer in asked["answers"]]
                    if texts:
                        yield f"item {number}", {"question": asked["question"], "answers": texts}
    except (KeyError, TypeError):
        raise DataError(
            f"{path}, item {number} of data: is no article with paragraphs, qas, question and answers; write SQuAD's "
            "form, or one object a line"
        ) from None


def _bear(folder: Path, files: list[Path]) -> Places:
    """Yield the facts of BEAR; its first sentence with a blank in the place of the answer is the question."""
    if not (folder / METADATA).is_file():
        raise DataError(f"{folder}: is a folder without {METADATA}; give a file, or the folder of BEAR")
    relations = read_json(folder / METADATA, dict[str, Any])
    for file in files:
        name = file.name.split(".", 1)[0]
        known = relations.get(name)
        sentences = known.get("templates") if isinstance(known, dict) else None
        if not isinstance(sentences, list) or not sentences or "[X]" not in str(sentences[0]):
            raise DataError(f"{folder / METADATA}: key {name!r} has no templates with [X]; {file.name} needs them")
        for place, row in rows(file):
            subject, answer = (cells.text(row.get(column) or " ") for column in ("sub_label", "obj_label"))
            question = str(sentences[0]).replace("[X]", subject.strip()).replace("[Y]", "___")
            answers = list(dict.fromkeys([answer, answer.removeprefix("the ")]))
            made = {"question": f"Fill in the blank: {question}", "answers": answers}
            yield f"{file.name}, {place}", {**made, "relation": name, "subject": subject}
