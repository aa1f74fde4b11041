"""Settings of closed-book question answering (paper section 4)."""

from pydantic import Field

from sftlens.config.choices import TaskName
from sftlens.settings import Settings
from sftlens.tasks import DEFAULT


class EvaluationSettings(Settings):
    """Greedy answers to the questions, in the prompt of fine-tuning."""

    task: TaskName = DEFAULT
    """What is asked: prompt, target and judgements."""
    max_new_tokens: int = Field(16, ge=1)
    """Longest answer, tokens."""
    reprobe: int = Field(100, ge=0)
    """Test facts (a fixed sample) whose mastery is measured again on the model; 0 leaves this out."""
    batch_tokens: int = Field(16384, ge=1)
    """Tokens of prompts and answers held side by side; speed and memory only."""
