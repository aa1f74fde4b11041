"""Tasks: what a model is fine-tuned on and asked, and how outputs are judged; one small file each.

A file of this package registers a `Task`; nothing else has to be edited: the keys `finetuning.task`,
`evaluation.task` and `tasks.NAME`, the option --task and the schema come from the registry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sftlens.errors import DataError
from sftlens.registry import Registry

if TYPE_CHECKING:
    import pandas as pd

DEFAULT = "closed_book_qa"
DEV = "-dev"
"""Behind a task's name: the split of its dev examples."""


@dataclass(frozen=True)
class Task:
    """One task; a row of its data has a question (the input), an object (the target) and perhaps aliases."""

    name: str
    description: str
    reference: str
    prompt: Callable[[str], str]
    """Question -> the prompt without BOS."""
    target: Callable[[str], str]
    """Object -> what follows the prompt before EOS."""
    judgements: Mapping[str, Callable[[str, Sequence[str]], bool | float]]
    """Column -> (output, accepted strings) -> the judgement: a bool, or a score from 0 to 1; the last is `score`."""
    columns: tuple[str, str] = ("question", "object")
    """Columns of its published files that hold the input and the target."""
    marks: Callable[[str], bool] = lambda target: True
    """Whether a text can be a target: what a file of this form is recognised by, besides its columns."""
    max_new_tokens: int = 16
    """Longest output, tokens."""
    max_length: int = 256
    """Longest training sample, tokens."""
    cut: bool = False
    """Whether an input that is too long is shortened at its end; else it is refused."""
    sample: int = 0
    """Test examples (a fixed sample) that are answered; 0: all."""

    @property
    def score(self) -> str:
        """The judgement that stands for the task where one number must."""
        return list(self.judgements)[-1]

    @property
    def published(self) -> bool:
        """Whether its data have a published form of their own."""
        return self.columns != Task.columns

    def fits(self, row: Mapping[str, object]) -> bool:
        """Whether a row of a file has this task's published form."""
        given, wanted = (row.get(name) for name in self.columns)
        return isinstance(given, str) and isinstance(wanted, str) and self.marks(wanted)

    def read(self, path: Path) -> pd.DataFrame:
        """Return the examples of a file in the published form, or with the columns question and object.

        The table has fact_id (`NAME/3`, counted from 1; a column fact_id or id is kept as `NAME/ID`), question and
        object, in the order of the file. Raises DataError naming file, line and column where one is missing or no
        text, or a target is none of this task.
        """
        import pandas as pd

        from sftlens.data import tables

        rows = tables.rows(path)
        there = list(dict.fromkeys(name for _, row in rows for name in row))
        plain = ("question", "object")
        columns = self.columns if set(self.columns) <= set(there) or not set(plain) <= set(there) else plain
        for name in [name for name in columns if name not in there]:
            raise DataError(
                f"{path}: column {name!r} is missing (there are: {', '.join(there)}); a file of task {self.name} has "
                f"{self.columns[0]!r} and {self.columns[1]!r}"
            )
        ids = next((name for name in ("fact_id", "id") if name in there), "")
        found = []
        for number, (place, row) in enumerate(rows, 1):
            given, wanted = (tables.text(path, place, row, name) for name in columns)
            if not self.marks(wanted):
                raise DataError(
                    f"{path}, {place}: column {columns[1]!r} holds {wanted[-60:]!r}, no target of task {self.name} "
                    f"({self.description}); mend or delete the row"
                )
            own = str(row.get(ids) or number) if ids else str(number)
            found.append((f"{self.name}/{own}", given, wanted))
        return pd.DataFrame(found, columns=["fact_id", "question", "object"])


@dataclass(frozen=True)
class TaskExamples:
    """The test or dev examples of one task, and how long prompts and outputs may be."""

    task: str
    split: str
    """The task's name; of dev examples that with `-dev`."""
    table: pd.DataFrame
    """Columns fact_id, question (the input) and object (the target)."""
    max_new_tokens: int
    """Longest output, tokens."""
    max_length: int
    """Longest prompt with its output, tokens, for a task whose inputs may be cut."""


TASKS: Registry[Task] = Registry("task", __name__, key=lambda t: (t.name != DEFAULT, t.name))


def recognised(rows: Sequence[Mapping[str, object]]) -> Task | None:
    """Return the task whose published form all of some rows have; None where there is none, or rows are of another."""
    own = (task for task in TASKS if task.published)
    return next((task for task in own if rows and all(map(task.fits, rows))), None)
