"""Settings of parameter restoration (paper section 6)."""

from pydantic import Field

from sftlens.settings import Settings


class RestorationSettings(Settings):
    """How elements are ranked before the first of them are set back to their pre-trained values."""

    epsilon: float = Field(1e-8, gt=0)
    """Added to |p| in the relative change |s - p| / (|p| + epsilon)."""
    seed: int = 0
    """Seed of the order `random`."""
    max_new_tokens: int = Field(16, ge=1)
    """Longest answer when the restored model is evaluated, tokens."""
    batch_tokens: int = Field(8192, ge=1)
    """Prompt tokens computed side by side; speed and memory only."""
