"""Answers of two models to the same questions, read from the tables that programs leave, and compared one by one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sftlens.data import tables
from sftlens.data.buckets import BUCKETS
from sftlens.diagnosis import effects
from sftlens.diagnosis.effects import Effect
from sftlens.errors import ConfigError, DataError
from sftlens.statistics import flips
from sftlens.tasks import DEFAULT, TASKS, Task

TABLES = ("answers.parquet", "answers.csv")
"""What is read of a folder that a program wrote."""
IDS = ("fact_id", "task_id", "question")
SCORES = ("right", "first_line", "contains", "score", "correct")
"""Columns that say whether an answer is right, the first of which counts."""
TEXTS = ("answer", "output")
ALL, TRAIN = "all", "train"
REMEDY = "give a table with one row a question, such as answers.parquet, or a folder that holds one"


@dataclass(frozen=True)
class Answers:
    """The answers of one model."""

    name: str
    """What it is called: the path as given, and the model where the file holds several."""
    table: pd.DataFrame
    """Those of IDS that there are, score (0 to 1), output and accepted (text, "" where unknown), split and bucket."""


@dataclass(frozen=True)
class Comparison:
    """Two models on the questions that both answered."""

    first: Answers
    second: Answers
    groups: dict[str, pd.DataFrame]
    """ALL (without the training set where there are other splits), then each split, then each bucket of the first:
    question, accepted, and output and score of both models as `first`, `second`, `was` and `is`."""

    def effect(self, group: str = ALL) -> Effect:
        """Return the effect on a group."""
        return effects.paired(self.groups[group]["was"], self.groups[group]["is"])

    def flips(self, gained: bool, group: str = ALL) -> pd.DataFrame:
        """Return the questions of a group that the second model gained (scores more on), or those that it lost."""
        found = self.groups[group]
        return found[flips.flipped(found["was"], found["is"])[gained]]


def read(given: Sequence[str], score: str | None = None) -> list[Answers]:
    """Return the answers of each of `given`: a table, a folder that holds one, or a report.json beside one.

    A file of several models (answers.csv of check or repair) given alone stands for all of them, among others for its
    last. `FILE:MODEL` is one of its models. `score` names the column that judges; None: the first of SCORES.
    Raises DataError, ConfigError.
    """
    found = []
    for text in given:
        path, _, model = (text, "", "") if Path(text).exists() else text.rpartition(":")
        made = _models(Path(path or text), score)
        if model:
            if model not in made:
                raise ConfigError(f"{path}: holds no model {model!r}; it has {', '.join(filter(None, made)) or 'one'}")
            made = {model: made[model]}
        elif len(given) > 1:
            made = dict([list(made.items())[-1]])
        found += [Answers(f"{path or text}:{name}" if name else text, table) for name, table in made.items()]
    if len(found) < 2:
        raise ConfigError(f"{given[0]}: holds the answers of one model; give another table to compare them with")
    return found


def _models(path: Path, score: str | None) -> dict[str, pd.DataFrame]:
    """Return the answers that a file holds by model; "" for a file of one model that it does not name."""
    folder = path if path.is_dir() else path.parent if path.name == "report.json" else None
    if folder:
        path = next((folder / name for name in TABLES if (folder / name).is_file()), folder / TABLES[0])
        if not path.is_file():
            raise DataError(f"{folder}: there is neither {' nor '.join(TABLES)} in it; {REMEDY}")
    places, rows = zip(*tables.rows(path), strict=True)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    there = f"(there are: {', '.join(columns)})"
    ids = [name for name in IDS if name in columns]
    if not ids:
        raise DataError(f"{path}: no column {' or '.join(map(repr, IDS))} {there}; {REMEDY}")
    # One column for each model (`base: right` beside `base: answer`), or one model (`contains` beside `output`).
    wanted = [score] if score else list(SCORES)
    ending = f": {wanted[0]}"
    models = {name.removesuffix(ending): name for name in columns if name.endswith(ending)}
    if not models:
        own = next((name for name in wanted if name in columns), None)
        if own is None:
            raise DataError(f"{path}: no column {' or '.join(map(repr, wanted))} {there}; {REMEDY}")
        models = {"": own}
    accepted = next((name for name in ("answers", "aliases", "object") if name in columns), "")
    shared = {
        name: [_plain(path, place, name, row.get(name)) for place, row in zip(places, rows, strict=True)]
        for name in (*ids, "split", "bucket")
    }
    shared["accepted"] = [_text(row.get(accepted)) for row in rows]
    # Of sftlens evaluate: examples of tasks have judgements of their own, and their task as split.
    asked = [task for task in TASKS if task.name != DEFAULT and set(task.judgements) <= set(columns)]
    made = {}
    for model, column in models.items():
        texts = [f"{model}: {name}" if model else name for name in TEXTS]
        said = next((name for name in texts if name in columns), "")
        of_score = [_judged_by(row, column, asked) for row in rows]
        scores = [
            _share(path, place, column, row.get(column)) if own else 0.0
            for place, row, own in zip(places, rows, of_score, strict=True)
        ]
        table = pd.DataFrame({**shared, "score": scores, "output": [_text(row.get(said)) for row in rows]})
        made[model] = table[of_score].reset_index(drop=True)
    return made


def _judged_by(row: Mapping[str, Any], column: str, asked: Sequence[Task]) -> bool:
    """Whether a column judges a row, in a table that also has examples of the tasks `asked`."""
    own = [task for task in asked if task.name == row.get("split")]
    return column in own[0].judgements if own else not any(column in task.judgements for task in asked)


def _plain(path: Path, place: str, column: str, value: Any) -> Any:
    if isinstance(value, list | dict):
        raise DataError(f"{path}, {place}: column {column!r} holds {value!r:.80}; write one text or number")
    return value


def _share(path: Path, place: str, column: str, value: Any) -> float:
    named = {"true": 1.0, "false": 0.0}
    try:
        found = named[value.strip().lower()] if isinstance(value, str) and value.strip().lower() in named else value
        if 0 <= float(found) <= 1:
            return float(found)
    except (TypeError, ValueError):
        pass
    raise DataError(f"{path}, {place}: column {column!r} holds {value!r:.80}; write true, false or a share from 0 to 1")


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " | ".join(map(str, value))
    return "" if value is None or value != value else str(value)


def compare(first: Answers, second: Answers) -> Comparison:
    """Return the comparison of two models on the questions that both answered.

    Raises DataError where they share none, or where a table has a question twice.
    """
    a, b = first.table, second.table
    keys = [name for name in IDS if name in a and name in b]
    key = next((name for name in keys if a[name].isin(b[name]).any()), None)
    if key is None:
        some = [f"{model.name} has {model.table.filter(IDS).iloc[0, 0]!r}" for model in (first, second)]
        raise DataError(
            f"{second.name}: shares no fact with {first.name} ({', '.join(some)}); give answers to the same questions"
        )
    for model in (first, second):
        if (twice := model.table[key].duplicated()).any():
            name = model.table[key][twice].iloc[0]
            raise DataError(
                f"{model.name}: {name!r} stands there twice; give the answers of one model to each question"
            )
    both = a.merge(b[[key, "score", "output"]], on=key, suffixes=("", " of second"))
    both = both.assign(question=both["question"] if "question" in both else both[key])
    both = both.rename(
        columns={"score": "was", "output": "first", "score of second": "is", "output of second": "second"}
    )

    splits = [name for name in dict.fromkeys(both["split"]) if isinstance(name, str)]
    trained = both["split"] == TRAIN
    shared = both if trained.all() else both[~trained]
    parts = {ALL: shared}
    parts |= {name: both[both["split"] == name] for name in splits if len(splits) > 1}
    parts |= {name: part for name in BUCKETS if len(part := shared[shared["bucket"] == name])}
    columns = ["question", "accepted", "first", "second", "was", "is"]
    return Comparison(first, second, {name: part[columns] for name, part in parts.items()})
