"""Settings of the choice of probe templates for a model pretrained here (docs/world.md gives the rule)."""

from pydantic import Field

from sftlens.settings import Settings


class TemplateChoice(Settings):
    """Which completion templates of a relation probe the tiny model, decided on calibration facts only."""

    seen: int = Field(3, ge=0)
    """Templates that the corpus was written with."""
    held_out: int = Field(4, ge=0)
    """Templates that the model has never seen."""
    threshold: float = Field(0.5, ge=0, le=1)
    """A held-out template passes when its mean R is at least this share of the seen templates' mean R."""
