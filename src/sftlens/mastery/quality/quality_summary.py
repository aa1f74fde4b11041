"""How good a measurement of mastery is, all together: what its table says, and what the model says when asked again."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sftlens import files
from sftlens.config.stages.mastery import ProbingSettings, QualitySettings
from sftlens.mastery.quality import exposure, posterior, variance

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def of_table(table: pd.DataFrame, exposures: pd.DataFrame | None) -> list[dict[str, Any]]:
    """Return what a mastery table says of itself, as rows of metrics; no model is asked.

    Certainty of the buckets, sources of variance (where it has template_hits), and mastery by exposure, where
    `exposures` (exposures.parquet of scripts/world.py) is given.
    """
    rows = posterior.metrics(posterior.with_uncertainty(table))
    rows += variance.metrics(table) if "template_hits" in table else []
    return rows + (exposure.metrics(exposure.joined(table, exposures)) if exposures is not None else [])


def of_model(
    folder: Path,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    table: pd.DataFrame,
    sentences: Mapping[str, Sequence[str]],
    settings: QualitySettings,
    probing: ProbingSettings,
    progress: Callable[[int], object] = lambda rows: None,
) -> list[dict[str, Any]]:
    """Ask the model again as `settings` say; write its tables into `folder` and return rows of metrics.

    `sentences` and `probing` are those that the mastery table was made with. Written are those of
    `settings.tables`.
    """
    from sftlens.mastery.quality import answer_probability, retest

    rows: list[dict[str, Any]] = []
    if settings.retest:
        again = retest.probe_again(model, tokenizer, table, sentences, probing, settings.retest, progress)
        files.write_parquet(folder / "retest.parquet", again)
        rows += retest.metrics(again)
    if settings.answer_probability:
        found = answer_probability.probabilities(model, tokenizer, table, sentences, probing.batch_tokens, progress)
        files.write_parquet(folder / "answer_probability.parquet", found)
        rows += answer_probability.calibration(
            found["answer_probability"].to_numpy(dtype=float), table["mastery"].to_numpy(dtype=float)
        )
    return rows
