"""As many elements as by `masked` are not trained, drawn at random: its control."""

from pydantic import Field

from sftlens.settings import Settings
from sftlens.strategies import STRATEGIES
from sftlens.strategies.freeze import Region
from sftlens.strategies.masked import Masked


class MaskedRandomSettings(Settings):
    """Settings of masked-random: how many elements keep their pre-trained values."""

    ratio: float = Field(20.0, ge=0, le=100)
    """Percent of the region's elements that are not trained; the same number as `masked` at this ratio."""
    region: Region = "transformer"
    """Parameters among which they are: a region of restorations; all others are trained."""
    seed: int = 0
    """Seed of the draw."""

    @property
    def criterion(self) -> str:
        """The ranking criterion."""
        return "random"


class MaskedRandom(Masked):
    """The mask of `masked`, by the criterion `random`; no pilot is needed."""

    name = "masked-random"
    description = "Only elements outside of a random set as large as that of `masked`, its control"
    reference = "the control of masked"
    settings_class = MaskedRandomSettings
    inputs = ()
    pilot = {}


STRATEGIES.add(MaskedRandom)
