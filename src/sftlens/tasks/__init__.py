"""Tasks: what a model is fine-tuned on and asked, and how outputs are judged; one small file each.

A file of this package registers a `Task`; nothing else has to be edited: the keys `finetuning.task` and
`evaluation.task`, the option --task and the schema come from the registry.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sftlens.registry import Registry

DEFAULT = "closed_book_qa"


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
    """Column -> (output, accepted strings) -> the judgement: a bool, or a score from 0 to 1."""


TASKS: Registry[Task] = Registry("task", __name__, key=lambda t: (t.name != DEFAULT, t.name))
