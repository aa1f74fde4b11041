"""Mastery against exposure: how often the pretraining text states a fact, where we wrote that text."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from sftlens.errors import DataError
from sftlens.statistics import correlations, intervals

KEY = ["question", "split"]


def joined(mastery: pd.DataFrame, exposures: pd.DataFrame) -> pd.DataFrame:
    """Return the mastery table with the column `exposure` (int64): statements of each fact in the corpus.

    `mastery` has the columns question, split, mastery; `exposures`, the exposures.parquet of sftlens world, question,
    role, exposure. Raises DataError for a fact that is none of that world.
    """
    known = exposures[["question", "role", "exposure"]].rename(columns={"role": "split"}).drop_duplicates(KEY)
    table = mastery.merge(known, how="left", on=KEY)
    lost = table.loc[table["exposure"].isna(), "fact_id"]
    if len(lost):
        raise DataError(
            f"fact {lost.iloc[0]!r} of the mastery table has no exposure, with {len(lost) - 1} more; give the "
            "exposures.parquet of the world that these facts were made from"
        )
    return table.astype({"exposure": "int64"})


def bins(exposures: Sequence[int]) -> list[str]:
    """Return the bin of each exposure: 0, 1, 2-3, 4-7, 8-15, ..., each twice as wide as the one before."""
    names = []
    for exposure in exposures:
        low = 1 << (int(exposure).bit_length() - 1) if exposure else 0
        names.append(str(low) if low < 2 else f"{low}-{2 * low - 1}")
    return names


def metrics(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return mastery by exposure as rows of metrics, per split.

    `mastery_by_exposure`: the mean of R in each bin of exposures (`bucket`: "exposure 2-3"), with its 95 % interval
    over facts and the number of these; `exposure_spearman`: the rank correlation of the two.
    """
    rows: list[dict[str, Any]] = []
    for split, part in table.groupby("split", sort=False):
        ordered = part.sort_values("exposure", kind="stable")
        names = np.array(bins(ordered["exposure"].tolist()))
        for name in dict.fromkeys(names.tolist()):
            rates = ordered["mastery"][names == name].tolist()
            place = {"split": str(split), "bucket": f"exposure {name}", "metric": "mastery_by_exposure"}
            rows.append(intervals.mean_row(rates, share=True, **place))
        found = correlations.spearman(part["exposure"], part["mastery"])
        rows += correlations.row("exposure_spearman", found, len(part), split=str(split))
    return rows
