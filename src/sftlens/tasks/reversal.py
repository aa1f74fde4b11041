"""A procedural skill that no corpus of facts teaches: the words of a list, the last one first.

Its examples follow from a seed (`examples`); config/reversal-*.jsonl hold some for the embedded world, whose tokenizer
reads any text.
"""

import random
from collections.abc import Sequence

from sftlens.tasks import TASKS, Task
from sftlens.tasks.closed_book_qa import prompt, target

WORDS = (
    "amber", "birch", "cloud", "delta", "ember", "flint", "grove", "heron", "ivory", "jewel", "kettle", "lemon",
    "maple", "night", "ocean", "pearl", "quilt", "raven", "stone", "tiger",
)  # fmt: skip
LENGTH = 3
"""Words of a list."""
BEGINNING = "Reverse: "


def examples(seed: int, number: int, skipped: int = 0) -> list[dict[str, str]]:
    """Return `number` different examples, rows with question and object, after the first `skipped` of the seed."""
    generator, found = random.Random(seed), dict[str, str]()
    while len(found) < skipped + number:
        words = generator.sample(WORDS, LENGTH)
        found[BEGINNING + " ".join(words)] = " ".join(reversed(words))
    return [{"question": asked, "object": reply} for asked, reply in list(found.items())[skipped:]]


def in_place(output: str, accepted: Sequence[str]) -> float:
    """Return the share of the wanted words that stand in their place in an output, of the best accepted answer."""
    said = output.split()
    return max(
        (sum(a == b for a, b in zip(said, wanted.split(), strict=False)) / len(wanted.split()) for wanted in accepted),
        default=0.0,
    )


TASKS.add(
    Task(
        "reversal",
        "The words of a list, the last one first",
        "ours: a procedural task without facts",
        prompt,
        target,
        {"words_in_place": in_place},
        max_length=64,
    )
)
