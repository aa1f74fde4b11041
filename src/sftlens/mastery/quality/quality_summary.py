"""How good a measurement of mastery is, all together: what its table says, and what a second probe says."""

from pathlib import Path
from typing import Any

import pandas as pd

from sftlens import files
from sftlens.config.stages.mastery import QualitySettings
from sftlens.mastery.completions import Probe
from sftlens.mastery.quality import exposure, posterior, variance


def of_table(table: pd.DataFrame, exposures: pd.DataFrame | None) -> list[dict[str, Any]]:
    """Return what a mastery table says of itself, as rows of metrics, without the model.

    Certainty of the buckets, sources of variance (where it has template_hits), and mastery by exposure, where
    `exposures` (exposures.parquet of sftlens world) is given.
    """
    rows = posterior.metrics(posterior.with_uncertainty(table))
    rows += variance.metrics(table) if "template_hits" in table else []
    return rows + (exposure.metrics(exposure.joined(table, exposures)) if exposures is not None else [])


def of_model(folder: Path, probe: Probe, table: pd.DataFrame, settings: QualitySettings) -> list[dict[str, Any]]:
    """Probe the model again as `settings` say; write its tables into `folder` and return rows of metrics.

    The probe is the one that the mastery table was made with. Written are the tables of `settings.tables`.
    """
    from sftlens.mastery.quality import answer_probability, retest

    rows: list[dict[str, Any]] = []
    if settings.retest:
        again = retest.probe_again(probe, table, settings.retest)
        files.write_parquet(folder / "retest.parquet", again)
        rows += retest.metrics(again)
    if settings.answer_probability:
        found = answer_probability.probabilities(probe, table)
        files.write_parquet(folder / "answer_probability.parquet", found)
        rows += answer_probability.calibration(
            found["answer_probability"].to_numpy(dtype=float), table["mastery"].to_numpy(dtype=float)
        )
    return rows
