"""Collecting the summaries of a study into one tidy table, results.parquet."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from sftlens.config.study import Study
from sftlens.dag.cells import Cell, Product, distinct
from sftlens.dag.paths import Paths
from sftlens.files import read_json

COLUMNS = {
    "study": "str", "model": "str", "train_set": "str", "scale": "str", "seed": "int64", "strategy": "str",
    "stage": "str", "criterion": "str", "region": "str", "ratio": "float64", "split": "str", "bucket": "str",
    "relation": "str", "layer": "str", "module": "str",
    "metric": "str", "value": "float64", "n": "int64", "low": "float64", "high": "float64",
}  # fmt: skip


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
        if not made(study, product):
            missing.append(product)
            continue
        axes = {"study": study.study, **product.axes}
        rows += [{**axes, **row} for row in read_json(path)["metrics"]]
    return _table(rows), missing


def made(study: Study, product: Product) -> bool:
    """Whether a product has a summary, and one of the model and the mastery table that there are now."""
    return Path(Paths(study).summary(product)).is_file() and not _outdated(study, product)


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    for name, dtype in COLUMNS.items():
        if dtype == "str":
            table[name] = table[name].astype(object).where(table[name].notna(), "")
        elif dtype == "int64":
            table[name] = table[name].fillna(0)
        table[name] = table[name].astype(dtype)
    return table


def _outdated(study: Study, product: Product) -> bool:
    """Whether a summary describes a model or a mastery table that was to be made anew and was not."""
    paths, cell = Paths(study), product.cell
    rests_on = [Product("mastery", cell)] if product.stage != "mastery" else []
    rests_on += [Product("finetune", cell)] if cell.trained and product.stage != "finetune" else []
    return any(not Path(paths.summary(other)).is_file() for other in rests_on)


def part(table: pd.DataFrame, wanted: Iterable[Product]) -> pd.DataFrame:
    """Return the rows of a tidy table that belong to some of its products, in the order of the table."""
    # The ratios of a `changes` product are its rows' own; those of a restoration name the product.
    names = [name for name in Product("mastery", Cell("", "", "", 0)).axes if name != "ratio"]
    keys = {(*(p.axes[name] for name in names), p.ratio if p.stage == "restore" else None) for p in wanted}
    rows = zip(table[names].itertuples(index=False, name=None), table["stage"], table["ratio"], strict=True)
    found = [(*row, ratio if stage == "restore" else None) in keys for row, stage, ratio in rows]
    return table[pd.Series(found, index=table.index, dtype=bool)].reset_index(drop=True)


def unfinished(study: Study, missing: Iterable[Product]) -> list[dict[str, str]]:
    """Return for each missing product its cell, stage, log and the error in the log.

    The log is empty for a product whose job never started because another one failed.
    """
    paths, missing = Paths(study), list(missing)
    entries = [
        _entry(whose, stage, Path(log))
        for whose, stage, output, log in paths.shared_work(missing)
        if not Path(output).exists() and Path(log).is_file()
    ]
    for product in missing:
        cell = product.cell.path if product.cell.train_set else product.cell.model
        measure = f" {product.criterion} {product.region}" if product.criterion else ""
        ratio = f" k={product.ratio:g}" if product.ratio is not None else ""
        entry = _entry(cell, product.stage + measure + ratio, Path(paths.log(product)))
        if _outdated(study, product):  # its log, if there is one, tells of an earlier model
            entry |= {"log": "", "reason": "waits for another job"}
        entries.append(entry)
    return entries


def _entry(cell: str, stage: str, log: Path) -> dict[str, str]:
    return {"cell": cell, "stage": stage, "log": str(log) if log.is_file() else "", "reason": _reason(log)}


def _reason(log: Path) -> str:
    if not log.is_file():
        return "waits for another job"
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error:")]
    return (errors or lines or ["the log is empty"])[-1][:300]
