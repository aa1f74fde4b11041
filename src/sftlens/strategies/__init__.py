"""Strategies: ways of supervised fine-tuning; one small file each.

A file of this package registers a class; nothing else has to be edited: `--strategy`, its options, the configuration's
`strategies` and the schema come from the registry. A strategy changes the run of `sftlens.training.loop` through four
hooks; what it leaves alone is full fine-tuning (paper section 3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sftlens.registry import Registry
from sftlens.settings import Settings

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor, nn

DEFAULT = "full"
"""The paper's; also what figures and tables show."""


class Strategy:
    """One way of fine-tuning, made for one run from its settings."""

    name: ClassVar[str]
    description: ClassVar[str]
    """One sentence, for --help and docs."""
    reference: ClassVar[str]
    settings_class: ClassVar[type[Settings]] = Settings
    """Its own keys; each with a default and a docstring."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows to train on, in their sequence, of the first n of the training set."""
        return table

    def prepare(self, model: nn.Module) -> None:
        """Get the loaded model ready, in every process and before the optimiser is made; a resumed run too.

        What needs no gradient afterwards is not trained. At ZeRO stage 3 parameters are partitioned here.
        """

    def penalty(self, model: nn.Module) -> Tensor | None:
        """Return what is added to the mean loss of the answers (nats per token), once a step; a scalar, or None."""
        return None

    def finished(self, name: str, weight: Tensor) -> Tensor:
        """Return what is saved of a trained weight (in the type it was trained in); same shape."""
        return weight


STRATEGIES: Registry[type[Strategy]] = Registry("strategy", __name__, key=lambda s: (s.name != DEFAULT, s.name))


def make(name: str, settings: Settings | None = None) -> Strategy:
    """Return the strategy called `name`, by default with default settings. Raises ConfigError for an unknown name."""
    strategy = STRATEGIES.get(name)
    return strategy(settings or strategy.settings_class())
