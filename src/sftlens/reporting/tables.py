"""The paper's tables, and the numbers behind its figures, as readable frames made from results.parquet."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from sftlens.errors import DataError
from sftlens.files import write_text
from sftlens.reporting import change_tables, judgements, mastery
from sftlens.reporting.frames import (
    ACCURACY,
    BASE,
    BUCKETS,
    FEWSHOT,
    KL,
    SPLITS,
    TESTS,
    named,
    pivot,
    restored,
    scales,
    selected,
    spread,
    with_examples,
    with_gains,
)

__all__ = [
    "ACCURACY",
    "BASE",
    "FEWSHOT",
    "KL",
    "NAMES",
    "as_text",
    "build",
    "scales",
    "seeds_note",
    "smaller_sets",
    "write_csv",
]

NAMES = (
    "table1", "table2", "table3", "table4", "reliability", "judgements", "table9", "table10", "table11"
)  # fmt: skip


def build(name: str, results: pd.DataFrame) -> pd.DataFrame:
    """Return one target as a wide frame with one header row and no index of its own.

    Args:
        name: one of `NAMES`, or a figure (`figures.NAMES`) for the numbers that it draws.
        results: the tidy table of a study, one row per number; it may be incomplete.

    Returns:
        Text columns that name a row, then numbers: accuracies and shares in percent, KL in nats; after
        a column `X` its `X SD` (over seeds, n - 1 in the denominator) or `X gain` (points). NaN where
        nothing was measured; no rows where the study has nothing for this target yet.

    Raises:
        DataError: there is no such target.
    """
    if name not in _BUILDERS:
        raise DataError(f"no table named {name!r}; choose one of {', '.join(_BUILDERS)}")
    overall = results[results["relation"] == ""]  # rows of single relations are for readers of the tidy table
    return _BUILDERS[name](_main_strategy(overall.dropna(subset=["value"])))


def write_csv(table: pd.DataFrame, path: Path, notice: str = "") -> None:
    """Write a frame of `build` as CSV: two decimals (KL four), `-` where nothing was measured.

    A `notice` becomes a last column `note`, so that every row carries it and any CSV reader still works.
    """
    text = as_text(table)
    if notice:
        text = text.assign(note=notice)
    write_text(path, text.to_csv(index=False, lineterminator="\n"))


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with every number written out: the form in which CSV and HTML show it."""
    return pd.DataFrame({name: [_text(name, value) for value in table[name]] for name in table}, dtype="str")


def seeds_note(table: pd.DataFrame) -> str:
    """Return the sentence that says what the spread of a frame of `build` is taken over; "" without seeds."""
    trained = table[~table["Trained on"].isin([BASE, FEWSHOT])] if "Trained on" in table else table
    counts = {int(n) for n in trained.get("Seeds", pd.Series(dtype=float)).dropna() if n > 0}
    repeated = sorted(counts - {1})
    if not counts:
        return ""
    if not repeated:
        return "One seed each, so no spread is shown."
    number = f"{repeated[0]}" if len(repeated) == 1 else f"{repeated[0]} to {repeated[-1]}"
    if not any(name.endswith(" SD") for name in table):
        return f"Mean over {'up to ' if 1 in counts else ''}{number} seeds."
    single = " Points from a single seed have no spread." if 1 in counts else ""
    return f"Mean ± SD over {number} seeds.{single}"


def smaller_sets(table: pd.DataFrame) -> pd.Series:
    """Return, per row, whether its training set has fewer examples than its scale asks for."""
    return table["Examples"].astype("float64") < pd.to_numeric(table["n"], errors="coerce")


def _text(column: str, value: Any) -> str:
    if pd.isna(value):
        return "-"
    if not isinstance(value, float):
        return str(value)
    decimals = 4 if column.startswith((KL, "Value")) else 2
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def _main_strategy(results: pd.DataFrame) -> pd.DataFrame:
    """Keep full fine-tuning, which these targets show, with the base model and what has no strategy."""
    return results[results["strategy"].isin(["", "base", "fewshot", "full"])]


def _curve(results: pd.DataFrame, stage: str, metric: str, bucket: str, *splits: str) -> pd.DataFrame:
    rows = selected(results, stage, metric)
    rows = named(rows[(rows["bucket"] == bucket) & rows["split"].isin(splits)])
    unit, factor = (KL, 1.0) if stage == "divergence" else (ACCURACY, 100.0)
    table = spread(rows.assign(value=rows["value"] * factor), ["Model", "Test set", "Trained on", "n"], unit)
    return with_examples(table, results)


def _fig2(results: pd.DataFrame) -> pd.DataFrame:
    """Macro accuracy against n, ID and OOD (paper Figure 2)."""
    return _curve(results, "evaluate", "contains", "macro", *TESTS)


def _fig4(results: pd.DataFrame) -> pd.DataFrame:
    """Accuracy on the best-known test facts, bucket D4, against n (paper Figure 4)."""
    return _curve(results, "evaluate", "contains", "D4", "test")


def _fig5(results: pd.DataFrame) -> pd.DataFrame:
    """KL divergence of the fine-tuned from the base model against n (paper Figure 5)."""
    return _curve(results, "divergence", "kl", "D4", "test")


def _table1(results: pd.DataFrame) -> pd.DataFrame:
    """Facts per bucket (paper Tables 1 and 8)."""
    rows = selected(results, "mastery", "facts")
    rows = rows.assign(Model=rows["model"], Split=rows["split"].map(SPLITS))
    keys = ["Model", "Split"]
    table = pivot(rows, keys, "bucket", list(BUCKETS))[[*keys, *BUCKETS]]
    table["Total"] = table[list(BUCKETS)].sum(axis=1, skipna=False)
    return table.astype(dict.fromkeys([*BUCKETS, "Total"], "Int64"))


def _table2(results: pd.DataFrame) -> pd.DataFrame:
    """Accuracy per test bucket at the largest numbered scale (paper Table 2)."""
    rows = selected(results, "evaluate", "contains")
    rows = rows[rows["split"].isin(TESTS) & rows["bucket"].isin([*BUCKETS, "macro"])]
    size = pd.to_numeric(rows["scale"], errors="coerce")
    largest = size.groupby(rows["model"]).transform("max")
    # A training set measured only at smaller scales keeps its row, empty: leaving it out would hide the gap.
    value = (rows["value"] * 100).where((size == largest) | (size == 0))
    scale = largest.where(size > 0, 0).map("{:.0f}".format)
    rows = rows.assign(value=value, scale=scale, bucket=rows["bucket"].replace("macro", "Macro"))
    rows = named(rows[size.notna()])
    table = pivot(rows, ["Model", "Test set", "Trained on", "n"], "bucket", [*BUCKETS, "Macro"])
    return with_examples(table, results)


def _table4(results: pd.DataFrame) -> pd.DataFrame:
    """Accuracy after restoring k %, one column per training set, with the gain on k = 0 (paper Table 4)."""
    rows = named(restored(results))
    rows["Restored (%)"] = [f"{ratio:g}" for ratio in rows["ratio"]]
    return with_gains(rows, ["Model", "Criterion", "Region", "n", "Test set", "Restored (%)"])


_BUILDERS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "table1": _table1,
    "table2": _table2,
    "table4": _table4,
    "judgements": judgements.build,
    **change_tables.BUILDERS,
    "reliability": lambda results: mastery.reliability(results, SPLITS),
    "exposure": lambda results: mastery.exposure(results, SPLITS),
    "fig2": _fig2,
    "fig4": _fig4,
    "fig5": _fig5,
}
