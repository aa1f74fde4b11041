"""Settings of the token-level divergence (paper section 5)."""

from pydantic import Field

from sftlens.settings import Settings

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
    """Prompt tokens computed side by side; speed and memory only."""
