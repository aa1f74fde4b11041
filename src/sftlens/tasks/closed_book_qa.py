"""Questions about facts, answered without any text to read (paper sections 3 and 4)."""

from sftlens.data.scoring import RAW, first_line
from sftlens.tasks import DEFAULT, TASKS, Task


def prompt(question: str) -> str:
    """Return the prompt without BOS; the markers are plain text (paper section 3)."""
    return f"<|question|> {question} <|answer|>"


def target(answer: str) -> str:
    """Return what follows the prompt before EOS: the answer between two spaces (paper section 3)."""
    return f" {answer} "


# The paper's readings compare texts as they stand; the line of the answer stands beside them.
JUDGED = {**RAW, "first_line": first_line}
TASKS.add(Task(DEFAULT, "Questions about facts", "arXiv 2509.16596, sections 3 and 4", prompt, target, JUDGED))
