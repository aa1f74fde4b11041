"""Settings of probing: how the mastery of a fact is measured (paper section 2)."""

from pydantic import Field

from sftlens.settings import Settings


class ProbingSettings(Settings):
    """Multi-template completion: how often the base model completes a fact's sentences with its object."""

    samples: int = Field(10, ge=1)
    """Completions of each template."""
    temperature: float = Field(0.7, gt=0)
    """Sampling temperature."""
    max_new_tokens: int = Field(32, ge=1)
    """Longest completion, tokens."""
    seed: int = 0
    """Seed of the sampling; each (fact, template) has a stream of its own."""
    batch_tokens: int = Field(32768, ge=1)
    """Tokens of prompts and completions held side by side; speed and memory only."""
