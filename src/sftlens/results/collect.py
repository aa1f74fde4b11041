"""Collecting the summaries of a study into one tidy table, results.parquet."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NotRequired

import pandas as pd
from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from sftlens.config.study import Study
from sftlens.dag.cells import Cell, Product, distinct
from sftlens.dag.paths import Paths
from sftlens.files import read_json
from sftlens.results.unfinished import made

COLUMNS = {
    "study": "str", "model": "str", "train_set": "str", "scale": "str", "seed": "int64", "strategy": "str",
    "stage": "str", "criterion": "str", "region": "str", "ratio": "float64", "split": "str", "bucket": "str",
    "relation": "str", "layer": "str", "module": "str",
    "metric": "str", "value": "float64", "n": "int64", "low": "float64", "high": "float64",
}  # fmt: skip


@with_config(ConfigDict(extra="allow"))
class Metric(TypedDict):
    """One number of a summary; further keys are its place (split, bucket, ...) and its interval."""

    metric: str
    value: float | None
    n: NotRequired[int | None]


class Summary(TypedDict):
    """What is read here of a stage's summary."""

    metrics: list[Metric]


def collect(study: Study, wanted: Iterable[Product] | None = None) -> tuple[pd.DataFrame, list[Product]]:
    """Return the rows of all summaries that exist, and the products that have none.

    Args:
        study: the study.
        wanted: its products; None: all of them.

    Returns:
        A table with COLUMNS, one row a number, in the order of the grid; and the missing products.
    """
    paths = Paths(study)
    rows: list[dict[str, Any]] = []
    missing: list[Product] = []
    for product in distinct(study) if wanted is None else wanted:
        path = Path(paths.summary(product))
        if not made(paths, product):
            missing.append(product)
            continue
        axes = {"study": study.study, **product.axes}
        rows += [{**axes, **row} for row in read_json(path, Summary)["metrics"]]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    for name, dtype in COLUMNS.items():
        if dtype == "str":
            table[name] = table[name].astype(object).where(table[name].notna(), "")
        elif dtype == "int64":
            table[name] = table[name].fillna(0)
        table[name] = table[name].astype(dtype)
    return table, missing


def part(table: pd.DataFrame, wanted: Iterable[Product]) -> pd.DataFrame:
    """Return the rows of a tidy table that belong to some of its products, in the order of the table."""
    # The ratios of a `changes` product are its rows' own; those of a restoration name the product.
    names = [name for name in Product("mastery", Cell("", "", "", 0, "")).axes if name != "ratio"]
    keys = {(*(p.axes[name] for name in names), p.ratio if p.stage == "restore" else None) for p in wanted}
    rows = zip(table[names].itertuples(index=False, name=None), table["stage"], table["ratio"], strict=True)
    found = [(*row, ratio if stage == "restore" else None) in keys for row, stage, ratio in rows]
    return table[pd.Series(found, index=table.index, dtype=bool)].reset_index(drop=True)
