"""Facts that the base model does not know are left out of the training set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sftlens.errors import ConfigError, DataError
from sftlens.strategies import STRATEGIES, Strategy
from sftlens.tasks import TASKS

if TYPE_CHECKING:
    import pandas as pd

    from sftlens.config.stages.training import FinetuneSettings

UNKNOWN = "D0"


class DropUnknown(Strategy):
    """All parameters are trained on what is left without bucket D0; there are as many steps fewer."""

    name = "drop-unknown"
    description = "All parameters, on the training set without the facts of bucket D0"
    reference = "Gekhman et al., EMNLP 2024, arXiv 2405.05904"

    def check(self, recipe: FinetuneSettings, train_set: str = "") -> None:
        """Raise ConfigError for the training set of unknown facts, and for a task, whose examples have no buckets."""
        if train_set and TASKS.get(recipe.task).published:
            raise ConfigError(
                f"drop-unknown needs the buckets of facts, which examples of {train_set} do not have; take {train_set} "
                "out of this experiment's `train_sets`, or the strategy out of its `strategies`"
            )
        if train_set == UNKNOWN:
            raise ConfigError(
                f"drop-unknown leaves nothing of the train set {UNKNOWN}; take {UNKNOWN} out of this experiment's "
                "`train_sets` (the strategy is meant for `mixed`)"
            )

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of other buckets. Raises DataError where nothing is left, or no bucket is known."""
        if "bucket" not in table:
            raise DataError("strategy drop-unknown: the training set has no column 'bucket'; add it (sftlens mastery)")
        kept = table[table["bucket"] != UNKNOWN].reset_index(drop=True)
        if kept.empty:
            raise DataError(
                f"strategy drop-unknown: all {len(table)} facts of the training set are of bucket {UNKNOWN}, so that "
                "none is left; use it with the train set `mixed`, or with another strategy"
            )
        return kept


STRATEGIES.add(DropUnknown)
