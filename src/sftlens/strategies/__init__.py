"""Strategies: ways of supervised fine-tuning; one small file each.

A file of this package registers a class; nothing else has to be edited: `--strategy`, its options, the configuration's
`strategies` and the schema come from the registry. A strategy changes the run of `sftlens.training.loop` through its
hooks; what it leaves alone is full fine-tuning (paper section 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from sftlens.errors import ConfigError
from sftlens.registry import Registry
from sftlens.settings import Settings

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor, nn

    from sftlens.config.stages.training import FinetuneSettings

DEFAULT = "full"
"""The paper's; also what figures and tables show."""
INPUTS = {
    "pilot": "model that was fine-tuned from the same base before",
    "known": "table of facts with the columns split, relation and bucket (sftlens mastery)",
    "texts": "table of the completions that were sampled for these facts (sftlens mastery --keep-texts)",
    "templates": "file of the completion templates that they were sampled with",
}
"""What a strategy may read besides the model and the training set; each is an option of sftlens finetune."""


class Strategy:
    """One way of fine-tuning, made for one run from its settings."""

    name: ClassVar[str]
    description: ClassVar[str]
    """One sentence, for --help and docs."""
    reference: ClassVar[str]
    settings_class: ClassVar[type[Settings]] = Settings
    """Its own keys; each with a default and a docstring."""
    inputs: ClassVar[tuple[str, ...]] = ()
    """Which of INPUTS it reads."""
    pilot: ClassVar[Mapping[str, str]] = {}
    """In a study, what sets the cell of its pilot apart from its own: axis -> value, `{key}` standing for a setting."""
    compared: ClassVar[Literal["", "base", "pilot"]] = ""
    """The frozen model whose logits on the answer tokens `loss` is given; they are computed once, before training."""
    bytes_shared: ClassVar[float] = 0.0
    """Memory that it takes besides, for each parameter of the model: in all processes together."""
    bytes_own: ClassVar[float] = 0.0
    """The same, in each of them."""

    def __init__(self, settings: Settings, given: Mapping[str, Path] | None = None, seed: int = 0) -> None:
        """Take the settings, the files of `inputs` (and `model`, the base), and the seed of the run."""
        self.settings: Any = settings
        self.given, self.seed = dict(given or {}), seed

    @classmethod
    def rows_per_row(cls, settings: Any) -> float:
        """Return how many rows it trains on for each row of the training set, for the plan."""
        return 1.0

    def check(self, recipe: FinetuneSettings, train_set: str = "") -> None:
        """Raise ConfigError where the settings contradict the recipe or a study's training set (D0..D4, mixed)."""

    def recipe(self, recipe: FinetuneSettings) -> FinetuneSettings:
        """Return the recipe that it trains by, of a run's or a study's."""
        return recipe

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows to train on, in their sequence, of the first n of the training set.

        Where a column `continued` holds, `question` is the beginning of a sentence and `object` its rest.
        """
        return table

    def prepare(self, model: nn.Module) -> None:
        """Get the loaded model ready, in every process and before the optimiser is made; a resumed run too.

        What needs no gradient afterwards is not trained. At ZeRO stage 3 parameters are partitioned here.
        """

    def started(self, optimizer: Any, weights: Sequence[Tensor]) -> None:
        """Look at the optimiser before the first step, in every process; a resumed run too.

        `weights` are the process' part of the trained weights, fp32 and flat at ZeRO stages 1 to 3, with their values
        before training; `optimizer` (torch's AdamW) updates these very tensors.
        """

    def loss(self, logits: Tensor, targets: Tensor, reference: Tensor) -> Tensor:
        """Return the loss of some answer tokens, summed (nats, scalar).

        `logits` are those of the model, fp32 [tokens, vocabulary], `targets` the tokens' ids, int64 [tokens];
        `reference` are logits of the model `compared`, fp32 like ours, [0, vocabulary] where nothing is compared.
        """
        import torch

        return torch.nn.functional.cross_entropy(logits, targets, reduction="sum")

    def penalty(self, model: nn.Module) -> Tensor | None:
        """Return what is added to the mean loss of the answers (nats per token), once a step; a scalar, or None."""
        return None

    def trained(self, model: nn.Module) -> None:
        """Make of the trained model one with the names and shapes of the base's parameters; in every process."""

    def finished(self, name: str, weight: Tensor) -> Tensor:
        """Return what is saved of a trained weight (in the type it was trained in); same shape."""
        return weight

    def save(self, folder: Path) -> None:
        """Write what is kept beside the weights into the checkpoint's folder; in the first process."""


STRATEGIES: Registry[type[Strategy]] = Registry("strategy", __name__, key=lambda s: (s.name != DEFAULT, s.name))


def make(
    name: str, settings: Settings | None = None, given: Mapping[str, Path] | None = None, seed: int = 0
) -> Strategy:
    """Return the strategy called `name`, by default with default settings.

    Raises ConfigError for an unknown one, and where one of its inputs is missing or was given in vain.
    """
    strategy, found = STRATEGIES.get(name), dict(given or {})
    for missing in strategy.inputs:
        if missing not in found:
            raise ConfigError(f"option --{missing}: is missing; strategy {name} needs a {INPUTS[missing]}")
    for needless in [wanted for wanted in found if wanted in INPUTS and wanted not in strategy.inputs]:
        raise ConfigError(f"option --{needless}: strategy {name} does not use it; take it out, or give --strategy")
    return strategy(settings or strategy.settings_class(), found, seed)
