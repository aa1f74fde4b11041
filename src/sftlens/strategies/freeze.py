"""Parts of the model stay what they are in the base."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from sftlens.errors import ConfigError
from sftlens.restoration import regions
from sftlens.settings import Settings
from sftlens.strategies import STRATEGIES, Strategy

if TYPE_CHECKING:
    from torch import nn


def _known(region: str) -> str:
    try:
        regions.rule(region)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return region


Region = Annotated[str, AfterValidator(_known)]
"""Parameters of a model: a region of restorations."""


class FreezeSettings(Settings):
    """Settings of freeze: which parameters are not trained."""

    region: Region = "mlp"
    """Parameters that stay as they are: transformer, attention, mlp, embedding, layersA-B, re:EXPRESSION over names."""


class Freeze(Strategy):
    """No gradient, and no optimiser state, for the parameters of a region."""

    name = "freeze"
    description = "Some modules or layers stay as they are"
    reference = "arXiv 2604.15574, section on freezing parameter groups"
    settings_class = FreezeSettings

    def prepare(self, model: nn.Module) -> None:
        """Freeze the region. Raises ModelError where the model has no parameter in it."""
        names = dict(model.named_parameters(remove_duplicate=False))  # a tied tensor counts by either name
        for name in regions.select(list(names), self.settings.region):
            names[name].requires_grad_(False)


STRATEGIES.add(Freeze)
