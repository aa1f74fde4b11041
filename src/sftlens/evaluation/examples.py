"""Examples of a task: answered with its own prompt and judged (paper Table 5)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sftlens.config.stages.evaluation import EvaluationSettings
from sftlens.tasks import TASKS

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class TaskExamples:
    """The test or dev examples of one task, and how long prompts and outputs may be."""

    task: str
    split: str
    """The task's name; of dev examples that with `-dev`."""
    table: "pd.DataFrame"
    """Columns fact_id, question (the input) and object (the target)."""
    max_new_tokens: int
    """Longest output, tokens."""
    max_length: int
    """Longest prompt with its output, tokens, for a task whose inputs may be cut."""


def answer(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    test: TaskExamples,
    settings: EvaluationSettings,
    progress: Callable[[int], object] = lambda rows: None,
) -> "tuple[pd.DataFrame, list[dict[str, Any]]]":
    """Return the judged outputs of one task, in the form of `answering.answer`, and the rows of metrics.

    The metrics are the task's judgements and `well_formed`, over all its examples. Of
    `settings` only batch_tokens counts. Raises DataError and ModelError as `answering.answer`.
    """
    from sftlens.evaluation import accuracy, answering
    from sftlens.inference import prompts

    own = settings.model_copy(update={"task": test.task, "max_new_tokens": test.max_new_tokens})
    room = [test.max_length - test.max_new_tokens] * len(test.table)
    asked = prompts.shortened(tokenizer, test.table["question"].tolist(), room, test.task)
    table = test.table.assign(split=test.split, question=asked)
    answers = answering.answer(model, tokenizer, table, own, progress=progress)
    return answers, accuracy.rows(answers, [*TASKS.get(test.task).judgements, "well_formed"])
