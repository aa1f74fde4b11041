"""The paper's tables, and the numbers behind its figures, as readable frames made from results.parquet."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from sftlens import mastery_tables
from sftlens.errors import DataError
from sftlens.files import write_text

NAMES = ("table1", "table2", "table3", "table4", "reliability", "judgements")
BUCKETS = ("D0", "D1", "D2", "D3", "D4")
BASE = "Base model (n = 0)"
FEWSHOT = "Base model, 5 shots"
ACCURACY = "Accuracy (%)"
KL = "KL (nats)"

_SPLITS = {"train": "Train", "dev": "Dev", "test": "ID test", "testood": "OOD test"}
TESTS = ("test", "testood")
_CELL = ["model", "train_set", "scale", "seed", "strategy"]
_ORDER = (BASE, FEWSHOT, *BUCKETS, "mixed", *_SPLITS.values())


def build(name: str, results: pd.DataFrame) -> pd.DataFrame:
    """Return one target as a wide frame with one header row and no index of its own.

    Args:
        name: one of `NAMES`, or `fig2`, `fig4`, `fig5`, `exposure` for the numbers that a figure draws.
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


def scales(values: Iterable[str]) -> list[str]:
    """Return the distinct scales in the order of the axis: the numbers, then `all`."""
    return sorted(set(values), key=_scale_rank)


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


def _select(results: pd.DataFrame, stage: str, metric: str) -> pd.DataFrame:
    rows = results[(results["stage"] == stage) & (results["metric"] == metric)]
    return rows.sort_values("seed", kind="stable")


def _scale_rank(scale: str) -> float:
    return float(scale) if scale.isdigit() else float("inf")


def _rank(column: pd.Series) -> pd.Series:
    """Sort key of every text column: known names in reading order, numbers by size, then 8B before 70B."""
    if column.name in ("n", "Restored (%)"):
        return column.map(_scale_rank_of_text)
    known = {name: f"{place:02d}" for place, name in enumerate(_ORDER)}
    return column.map(lambda name: known.get(name, "~" + re.sub(r"\d+", lambda run: run[0].zfill(9), name)))


def _scale_rank_of_text(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("inf")


def named(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows under the names that a reader sees."""
    trained = rows["train_set"].mask(rows["scale"] == "0", BASE)
    trained = trained.mask((rows["scale"] == "0") & (rows["strategy"] == "fewshot"), FEWSHOT)
    return rows.assign(**{"Model": rows["model"], "Trained on": trained, "n": rows["scale"],
                          "Test set": rows["split"].map(_SPLITS), "Order": rows["order"],
                          "Region": rows["region"]})  # fmt: skip


def _spread(rows: pd.DataFrame, keys: list[str], value: str) -> pd.DataFrame:
    """Return one row per key with `value` (mean over seeds), `value SD` and `Seeds`, in reading order."""
    groups = rows.groupby(keys, sort=True)["value"]
    table = groups.agg(["mean", "std", "count"]).reset_index()
    table = table.rename(columns={"mean": value, "std": f"{value} SD", "count": "Seeds"})
    return table.sort_values(keys, key=_rank, kind="stable", ignore_index=True)


def pivot(rows: pd.DataFrame, keys: list[str], across: str, names: list[str]) -> pd.DataFrame:
    """Return keys, `Seeds` (the most in any column), then mean and SD of each of `names` side by side."""
    if rows.empty:
        return pd.DataFrame(columns=[*keys, "Seeds", *names])
    wide = _spread(rows, [*keys, across], "mean").pivot(index=keys, columns=across)
    parts: dict[str, pd.Series] = {"Seeds": wide["Seeds"].max(axis=1).astype("Int64")}
    for name in names:
        for label, column in ((name, "mean"), (f"{name} SD", "mean SD")):
            parts[label] = wide[column].get(name, pd.Series(float("nan"), wide.index))
    table = pd.DataFrame(parts, index=wide.index).reset_index()
    return table.sort_values(keys, key=_rank, kind="stable", ignore_index=True)


def _examples(results: pd.DataFrame) -> pd.DataFrame:
    """Return how many examples the sets of (model, training set, scale) really have (mean over seeds)."""
    rows = named(_select(results, "finetune", "examples"))
    return _spread(rows, ["Model", "Trained on", "n"], "Examples")[["Model", "Trained on", "n", "Examples"]]


def with_examples(table: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the real sizes of its training sets beside n."""
    table = table.merge(_examples(results), how="left", on=["Model", "Trained on", "n"])
    table.insert(list(table).index("n") + 1, "Examples", table.pop("Examples").astype("float64").round())
    return table.astype({"Examples": "Int64"})


def _curve(results: pd.DataFrame, stage: str, metric: str, bucket: str, *splits: str) -> pd.DataFrame:
    rows = _select(results, stage, metric)
    rows = named(rows[(rows["bucket"] == bucket) & rows["split"].isin(splits)])
    unit, factor = (KL, 1.0) if stage == "divergence" else (ACCURACY, 100.0)
    table = _spread(rows.assign(value=rows["value"] * factor), ["Model", "Test set", "Trained on", "n"], unit)
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
    rows = _select(results, "mastery", "facts")
    rows = rows.assign(Model=rows["model"], Split=rows["split"].map(_SPLITS))
    keys = ["Model", "Split"]
    table = pivot(rows, keys, "bucket", list(BUCKETS))[[*keys, *BUCKETS]]
    table["Total"] = table[list(BUCKETS)].sum(axis=1, skipna=False)
    return table.astype(dict.fromkeys([*BUCKETS, "Total"], "Int64"))


def _table2(results: pd.DataFrame) -> pd.DataFrame:
    """Accuracy per test bucket at the largest numbered scale (paper Table 2)."""
    rows = _select(results, "evaluate", "contains")
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


def _table3(results: pd.DataFrame) -> pd.DataFrame:
    """Share of the total relative change held by the top k % of the elements (paper Table 3)."""
    rows = _select(results, "changes", "share_of_change")
    tops = [f"Top {ratio:g} %" for ratio in sorted(rows["ratio"].unique())]
    rows = named(rows.assign(value=rows["value"] * 100, top=[f"Top {ratio:g} %" for ratio in rows["ratio"]]))
    return pivot(rows, ["Model", "Order", "Region", "n", "Trained on"], "top", tops)


def _restored(results: pd.DataFrame) -> pd.DataFrame:
    """Return the macro accuracies at every k, 0 included, each with its gain on k = 0 of the same cell."""
    rows = results[(results["metric"] == "contains") & (results["bucket"] == "macro")]
    rows = rows[rows["split"].isin(TESTS)].sort_values("seed", kind="stable")
    cell = [*_CELL, "split"]
    plain = rows[rows["stage"] == "evaluate"][[*cell, "value"]]
    restored = rows[(rows["stage"] == "restore") & (rows["ratio"] > 0)]
    start = restored[[*cell, "order", "region"]].drop_duplicates().merge(plain, on=cell).assign(ratio=0.0)
    both = pd.concat([start, restored[start.columns]])
    both = both.merge(plain.rename(columns={"value": "plain"}), how="left", on=cell)
    gain = (both["value"] - both["plain"]).where(both["ratio"] > 0)
    return both.assign(value=both["value"] * 100, gain=gain * 100)


def _table4(results: pd.DataFrame) -> pd.DataFrame:
    """Accuracy after restoring k %, one column per training set, with the gain on k = 0 (paper Table 4)."""
    rows = named(_restored(results))
    rows["Restored (%)"] = [f"{ratio:g}" for ratio in rows["ratio"]]
    keys = ["Model", "Order", "Region", "n", "Test set", "Restored (%)"]
    names = sorted(rows["train_set"].unique())
    table = pivot(rows, keys, "train_set", names).drop(columns=[f"{name} SD" for name in names])
    gains = pivot(rows.assign(value=rows["gain"]), keys, "train_set", names)
    for name in names:
        table.insert(list(table).index(name) + 1, f"{name} gain", gains[name])
    return table


def _judgements(results: pd.DataFrame) -> pd.DataFrame:
    """How the answers are judged otherwise than by the paper, with the majority baseline."""
    from sftlens import judgement_table  # a room of its own, made of the parts of this one

    return judgement_table.build(results)


_BUILDERS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "table1": _table1,
    "table2": _table2,
    "table3": _table3,
    "table4": _table4,
    "judgements": _judgements,
    "reliability": lambda results: mastery_tables.reliability(results, _SPLITS),
    "exposure": lambda results: mastery_tables.exposure(results, _SPLITS),
    "fig2": _fig2,
    "fig4": _fig4,
    "fig5": _fig5,
}
