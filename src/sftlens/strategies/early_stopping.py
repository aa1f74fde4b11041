"""Full fine-tuning that ends when the loss on dev facts no longer falls, and keeps the weights with the lowest."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sftlens.config.stages.training import EarlyStopping
from sftlens.errors import ConfigError
from sftlens.settings import Settings
from sftlens.strategies import STRATEGIES, Strategy

if TYPE_CHECKING:
    from sftlens.config.stages.training import FinetuneSettings


class StoppedEarly(Strategy):
    """The recipe's `early_stopping` for this strategy alone, so that a study can compare it with the others."""

    name = "early-stopping"
    description = "All parameters; training ends when the loss on dev facts no longer falls, and the best weights stay"
    reference = "Prechelt, Early Stopping - But When?, Neural Networks: Tricks of the Trade (1998)"
    settings_class: ClassVar[type[Settings]] = EarlyStopping

    def check(self, recipe: FinetuneSettings, train_set: str = "") -> None:
        """Raise ConfigError where every strategy stops early anyway."""
        if recipe.early_stopping:
            raise ConfigError(
                "finetuning.early_stopping: is set, so that strategy early-stopping would only repeat `full`; take "
                "the key out (strategies.early-stopping has the same settings), or the strategy"
            )

    def recipe(self, recipe: FinetuneSettings) -> FinetuneSettings:
        """Return the recipe with early stopping."""
        return recipe.model_copy(update={"early_stopping": self.settings})


STRATEGIES.add(StoppedEarly)
