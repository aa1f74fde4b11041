"""Grade-school word problems, solved step by step (paper Table 5)."""

import re
from collections.abc import Sequence
from decimal import Decimal

from sftlens.tasks import TASKS, Task
from sftlens.tasks.closed_book_qa import prompt, target

MARK = "####"
"""What the final number of a solution stands behind."""
_NUMBER = re.compile(r"(?<![\d.])-?(?:\d[\d,]*(?:\.\d+)?|\.\d+)")


def final_number(text: str) -> Decimal | None:
    """Return the number after the last `####`, else the last number in a text (7, -3.5, 1,000); None without any."""
    _, marked, rest = text.rpartition(MARK)
    numbers = _NUMBER.findall(rest if marked else text)
    if not numbers:
        return None
    return Decimal((numbers[0] if marked else numbers[-1]).replace(",", ""))


def correct(output: str, solutions: Sequence[str]) -> bool:
    """Whether the final number of an output is that of one of the solutions."""
    found = final_number(output)
    return found is not None and found in [final_number(solution) for solution in solutions]


TASKS.add(
    Task(
        "gsm8k",
        "Word problems whose solution ends with #### and a number",
        "Cobbe et al., arXiv 2110.14168; arXiv 2509.16596, Table 5",
        prompt,
        target,
        {"final_number": correct},
        columns=("question", "answer"),
        marks=lambda text: MARK in text and final_number(text) is not None,
        max_new_tokens=512,
        max_length=1024,
    )
)
