"""Settings of closed-book answers (paper section 4) and of the token-level divergence (section 5)."""

from pydantic import Field

from sftlens.config.stages.training import TaskName
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
    # Left out where none are asked, so that results made before there was this choice keep their keys.
    dev_facts: int = Field(0, ge=0, exclude_if=lambda count: not count)
    """Dev facts (a fixed sample) that are asked besides, as split `dev`: on them alone a setting may be chosen; 0: none
    are asked."""
    batch_tokens: int = Field(16384, ge=1)
    """Tokens of prompts and answers held side by side: speed, memory, and in half precision the rounding."""
    rebatched: int = Field(100, ge=0)
    """Test facts (a fixed sample) that a model in half precision answers again, one by one: how many answers depend on
    what is computed beside them; 0 leaves this out."""


OF_BASE = ("answer_within_words", "max_new_tokens")
"""Settings of what is asked of the base model alone."""


class DivergenceSettings(Settings):
    """KL(fine-tuned || pre-trained) at the first predicted token, over the fine-tuned model's top tokens."""

    top: int = Field(10, ge=1)
    """Number of the fine-tuned model's largest logits that are compared."""
    answer_within_words: int = Field(3, ge=0)
    """Keep a fact when its answer begins within so many words of the base model's greedy completion."""
    max_new_tokens: int = Field(32, ge=1)
    """Length of that greedy completion, tokens."""
    batch_tokens: int = Field(8192, ge=1)
    """Prompt tokens computed side by side: speed, memory, and in half precision the rounding."""
