"""Settings of closed-book question answering (paper section 4)."""

from pydantic import Field

from sftlens.settings import Settings


class EvaluationSettings(Settings):
    """Greedy answers to the questions, in the prompt of fine-tuning."""

    max_new_tokens: int = Field(16, ge=1)
    """Longest answer, tokens."""
    shots: int = Field(0, ge=0)
    """Solved examples before the question (the few-shot baseline at n = 0)."""
    shots_seed: int = 0
    """Seed of the draw of the solved examples."""
    batch_tokens: int = Field(8192, ge=1)
    """Prompt tokens computed side by side; speed and memory only."""
