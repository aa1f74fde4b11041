"""Settings of parameter restoration (paper section 6)."""

from pydantic import Field

from sftlens.settings import Seed, Settings


class RestorationSettings(Settings):
    """How elements are ranked before the first of them are restored to their pre-trained values."""

    epsilon: float = Field(1e-8, gt=0)
    """Added to |p| in the relative change |s - p| / (|p| + epsilon)."""
    seed: Seed = 0
    """Seed of the criterion `random`, of the rounding of `interpolation`, and of the permutations of the null model."""


class ChangesSettings(RestorationSettings):
    """How elements are ranked before the first of them are restored, and the null model of what fine-tuning changed."""

    null_draws: int = Field(3, ge=1)
    """Permutations of the null model of Table 3: their mean and SD are shown. Each takes about 24 ns of CPU time for
    each element, as much as the rest of `changes`."""
