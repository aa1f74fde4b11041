"""What the tables are made of: rows under the names that a reader sees, in reading order, spread over columns."""

import re
from collections.abc import Iterable

import pandas as pd

from sftlens.data.buckets import BUCKETS

BASE = "Base model (n = 0)"
FEWSHOT = "Base model, 5 shots"
ACCURACY = "Accuracy (%)"
KL = "KL (nats)"

SPLITS = {"train": "Train", "dev": "Dev", "test": "ID test", "testood": "OOD test"}
TESTS = ("test", "testood")
_CELL = ["model", "train_set", "scale", "seed", "strategy"]
_ORDER = (BASE, FEWSHOT, *BUCKETS, "mixed", *SPLITS.values(), "r", "|d|", "d^2", "none")


def scales(values: Iterable[str]) -> list[str]:
    """Return the distinct scales in the order of the axis: the numbers, then `all`."""
    return sorted(set(values), key=_scale_rank)


def selected(results: pd.DataFrame, stage: str, metric: str) -> pd.DataFrame:
    """Return the rows of one metric of one stage, by seed."""
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
                          "Test set": rows["split"].map(SPLITS), "Criterion": rows["criterion"],
                          "Region": rows["region"]})  # fmt: skip


def spread(rows: pd.DataFrame, keys: list[str], value: str) -> pd.DataFrame:
    """Return one row per key with `value` (mean over seeds), `value SD` and `Seeds`, in reading order."""
    groups = rows.groupby(keys, sort=True)["value"]
    table = groups.agg(["mean", "std", "count"]).reset_index()
    table = table.rename(columns={"mean": value, "std": f"{value} SD", "count": "Seeds"})
    return table.sort_values(keys, key=_rank, kind="stable", ignore_index=True)


def pivot(rows: pd.DataFrame, keys: list[str], across: str, names: list[str]) -> pd.DataFrame:
    """Return keys, `Seeds` (the most in any column), then mean and SD of each of `names` side by side."""
    if rows.empty:
        return pd.DataFrame(columns=[*keys, "Seeds", *names])
    wide = spread(rows, [*keys, across], "mean").pivot(index=keys, columns=across)
    parts: dict[str, pd.Series] = {"Seeds": wide["Seeds"].max(axis=1).astype("Int64")}
    for name in names:
        for label, column in ((name, "mean"), (f"{name} SD", "mean SD")):
            parts[label] = wide[column].get(name, pd.Series(float("nan"), wide.index))
    table = pd.DataFrame(parts, index=wide.index).reset_index()
    return table.sort_values(keys, key=_rank, kind="stable", ignore_index=True)


def _examples(results: pd.DataFrame) -> pd.DataFrame:
    """Return how many examples the sets of (model, training set, scale) really have (mean over seeds)."""
    rows = named(selected(results, "finetune", "examples"))
    return spread(rows, ["Model", "Trained on", "n"], "Examples")[["Model", "Trained on", "n", "Examples"]]


def with_examples(table: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the real sizes of its training sets beside n."""
    table = table.merge(_examples(results), how="left", on=["Model", "Trained on", "n"])
    table.insert(list(table).index("n") + 1, "Examples", table.pop("Examples").astype("float64").round())
    return table.astype({"Examples": "Int64"})


def restored(results: pd.DataFrame) -> pd.DataFrame:
    """Return the macro accuracies at every k, 0 included, each with its gain on k = 0 of the same cell."""
    rows = results[(results["metric"] == "contains") & (results["bucket"] == "macro")]
    rows = rows[rows["split"].isin(TESTS)].sort_values("seed", kind="stable")
    cell = [*_CELL, "split"]
    plain = rows[rows["stage"] == "evaluate"][[*cell, "value"]]
    restored = rows[(rows["stage"] == "restore") & (rows["ratio"] > 0)]
    start = restored[[*cell, "criterion", "region"]].drop_duplicates().merge(plain, on=cell).assign(ratio=0.0)
    both = pd.concat([start, restored[start.columns]])
    both = both.merge(plain.rename(columns={"value": "plain"}), how="left", on=cell)
    gain = (both["value"] - both["plain"]).where(both["ratio"] > 0)
    return both.assign(value=both["value"] * 100, gain=gain * 100)


def with_gains(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return `keys`, `Seeds`, and for each training set its mean accuracy and gain, from named rows of `restored`."""
    names = sorted(rows["train_set"].unique())
    table = pivot(rows, keys, "train_set", names).drop(columns=[f"{name} SD" for name in names])
    gains = pivot(rows.assign(value=rows["gain"]), keys, "train_set", names)
    for name in names:
        table.insert(list(table).index(name) + 1, f"{name} gain", gains[name])
    return table
