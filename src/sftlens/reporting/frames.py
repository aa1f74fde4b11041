"""What the tables are made of: rows under the names that a reader sees, in reading order, spread over columns.

Models, criteria and regions keep the order of the tidy table, which is that of the configuration; pandas is imported
when a frame is made, so that the list of targets can be read without it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftlens.data.buckets import BUCKETS
from sftlens.files import write_text
from sftlens.gate import csv_text

if TYPE_CHECKING:
    import pandas as pd

    from sftlens.dag.targets import Target

BASE = "Base model (n = 0)"
FEWSHOT = "Base model, 5 shots"
INSTRUCT = "Instruct model"
ACCURACY = "Accuracy (%)"
KL = "KL (nats)"
RATIO = "Restored (%)"

SPLITS = {"train": "Train", "dev": "Dev", "test": "ID test", "testood": "OOD test"}
TESTS = ("test", "testood")
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""In the order in which a block uses them."""
CELL = ["model", "train_set", "scale", "seed", "strategy"]
_READING_ORDER = (BASE, FEWSHOT, *BUCKETS, "mixed", *SPLITS.values(), *MODULES, "r", "|d|", "d^2", "none")
_AS_FOUND = ("Model", "Criterion", "Region")
BAND = 3
"""Seeds from which on an SD is printed, or drawn as a band: fewer are shown one by one."""
PLAIN = ("Model", "Strategy", "Criterion", "Region")
"""Columns that are said once beside a table in which they are the same in all rows."""
_TEXT = ("Model", "Strategy", "Trained on", "n", "Criterion", "Region", RATIO, "Test set", "Against", "Scope", "Of",
         "Flip", "Relation", "Bucket", "Question", "Accepted", "Before", "After", "Asked", "Ended early",
         "Quantity", "Series", "X")  # fmt: skip
"""Columns that are text in a file, however they look."""


def scales(values: Iterable[str]) -> list[str]:
    """Return the distinct scales in the order of the axis: the numbers, then `all`."""
    return sorted(set(values), key=_size)


def _size(text: str) -> float:
    return float("inf") if text == "all" else float(text)


def selected(results: pd.DataFrame, stage: str, metric: str) -> pd.DataFrame:
    """Return the rows of one metric of one stage."""
    return results[(results["stage"] == stage) & (results["metric"] == metric)]


def of_models(rows: pd.DataFrame, shown: Callable[[str], bool]) -> pd.DataFrame:
    """Return the rows of the models whose names `shown` chooses."""
    return rows[rows["model"].map(shown).astype(bool)]


def named(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows under the names that a reader sees."""
    trained = rows["train_set"].mask(rows["scale"] == "0", BASE)
    trained = trained.mask((rows["scale"] == "0") & (rows["strategy"] == "fewshot"), FEWSHOT)
    return rows.assign(**{"Model": rows["model"], "Trained on": trained, "n": rows["scale"],
                          "Test set": rows["split"].map(SPLITS), "Criterion": rows["criterion"],
                          "Region": rows["region"]})  # fmt: skip


def in_order(table: pd.DataFrame, keys: list[str], rows: pd.DataFrame) -> pd.DataFrame:
    """Return a table sorted by its text columns `keys`, in reading order.

    That is for models, criteria and regions the order in which `rows` name them, for scales and ratios their size, and
    for all else that of `_READING_ORDER`, then of the numbers in the name.
    """
    found = {name: list(dict.fromkeys(rows[name])).index for name in keys if name in _AS_FOUND}
    known = {name: f"{place:02d}" for place, name in enumerate(_READING_ORDER)}

    def rank(column: pd.Series) -> pd.Series:
        if column.name in found:
            return column.map(found[column.name])
        if column.name in ("n", RATIO):
            return column.map(_size)
        return column.map(lambda name: known.get(name, "~" + re.sub(r"\d+", lambda run: run[0].zfill(9), name)))

    return table.sort_values(keys, key=rank, kind="stable", ignore_index=True)


def spread(rows: pd.DataFrame, keys: list[str], value: str) -> pd.DataFrame:
    """Return one row per key with `value` (mean over seeds), `value SD` and `Seeds`, in reading order."""
    groups = rows.sort_values("seed", kind="stable").groupby(keys, sort=True)["value"]
    table = groups.agg(["mean", "std", "count"]).reset_index()
    table = table.rename(columns={"mean": value, "std": f"{value} SD", "count": "Seeds"})
    return in_order(table, keys, rows)


def pivot(
    rows: pd.DataFrame, keys: list[str], across: str, names: list[str], constant: Iterable[str] = ()
) -> pd.DataFrame:
    """Return keys, `Seeds` (the most in any column), then mean and SD of each of `names` side by side.

    The values of `constant`, some of the names, are those of no seed and have no SD.
    """
    import pandas as pd

    if rows.empty:
        return pd.DataFrame(columns=[*keys, "Seeds", *names])
    wide = spread(rows, [*keys, across], "mean").pivot(index=keys, columns=across)
    parts: dict[str, pd.Series] = {"Seeds": wide["Seeds"].max(axis=1).astype("Int64")}
    for name in names:
        for label, column in ((name, "mean"), (f"{name} SD", "mean SD")):
            if label == name or name not in constant:
                parts[label] = wide[column].get(name, pd.Series(float("nan"), wide.index))
    return in_order(pd.DataFrame(parts, index=wide.index).reset_index(), keys, rows)


def with_examples(table: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the real sizes of its training sets (mean over seeds) beside n."""
    place = ["Model", "Trained on", "n"]
    sizes = spread(named(selected(results, "finetune", "examples")), place, "Examples")[[*place, "Examples"]]
    table = table.merge(sizes, how="left", on=place)
    table.insert(list(table).index("n") + 1, "Examples", table.pop("Examples").astype("float64").round())
    return table.astype({"Examples": "Int64"})


def restored(
    results: pd.DataFrame,
    bucket: str = "macro",
    splits: Collection[str] = TESTS,
    metrics: Collection[str] = ("contains",),
) -> pd.DataFrame:
    """Return the scores of a bucket at every k, 0 included, each with its gain on k = 0 of the same cell."""
    import pandas as pd

    rows = results[results["metric"].isin(list(metrics)) & (results["bucket"] == bucket)]
    rows = rows[rows["split"].isin(splits)]
    cell = [*CELL, "split", "metric"]
    plain = rows[rows["stage"] == "evaluate"][[*cell, "value"]]
    restored = rows[(rows["stage"] == "restore") & (rows["ratio"] > 0)]
    start = restored[[*cell, "criterion", "region"]].drop_duplicates().merge(plain, on=cell).assign(ratio=0.0)
    both = pd.concat([start, restored[start.columns]])
    both = both.merge(plain.rename(columns={"value": "plain"}), how="left", on=cell)
    gain = (both["value"] - both["plain"]).where(both["ratio"] > 0)
    text = [f"{ratio:g}" for ratio in both["ratio"]]
    return both.assign(value=both["value"] * 100, gain=gain * 100, **{RATIO: text})


def with_gains(rows: pd.DataFrame, keys: list[str], across: str, names: list[str] | None = None) -> pd.DataFrame:
    """Return `keys`, `Seeds`, and for each of `names` of a column its mean accuracy and gain.

    `rows` are named ones of `restored`; `names` None: what the column `across` holds, by the alphabet.
    """
    names = sorted(rows[across].unique()) if names is None else names
    table = pivot(rows, keys, across, names, constant=names)
    gains = pivot(rows.assign(value=rows["gain"]), keys, across, names)
    for name in names:
        table.insert(list(table).index(name) + 1, f"{name} gain", gains[name])
    return table


def smaller_sets(table: pd.DataFrame) -> pd.Series:
    """Return, per row, whether its training set has fewer examples than its scale asks for."""
    import pandas as pd

    return table["Examples"].astype("float64") < pd.to_numeric(table["n"], errors="coerce")


def with_value(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the rows of the models and test sets that have a number in a column.

    A test set without a fact in one of the buckets has no mean over them, and would be an empty panel.
    """
    return table[table.groupby(["Model", "Test set"])[column].transform("count") > 0]


def gaps(table: pd.DataFrame, unit: str) -> str:
    """Return a sentence that names the training sets and n of a model that have no number in the column `unit`.

    The grid is guessed from the frame: the n that at least half of a model's training sets have, of each set that has
    at least half of them. A set at an n of its own, as `mixed` for the strategies, lacks nothing. "" where nothing is
    missing.
    """
    trained = table[~table["Trained on"].isin([BASE, FEWSHOT])]
    missing = []
    for model, rows in trained.groupby("Model", sort=False):
        known = set(map(tuple, rows.dropna(subset=[unit])[["Trained on", "n"]].to_numpy()))
        sets = list(dict.fromkeys(rows["Trained on"]))
        shared = [n for n in scales(rows["n"]) if 2 * sum((name, n) in known for name in sets) >= len(sets)]
        regular = [name for name in sets if 2 * sum((name, n) in known for n in shared) >= len(shared)]
        whole = [(name, n) for name in regular for n in shared]
        prefix = f"{model} " if trained["Model"].nunique() > 1 else ""
        missing += [f"{prefix}{name} at n = {n}" for name, n in whole if (name, n) not in known]
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    return f"No result: {', '.join(missing[:3])}{more}." if missing else ""


def seeds_note(table: pd.DataFrame) -> str:
    """Return the sentence that says what the spread of a target's frame is taken over; "" without seeds."""
    trained = table[~table["Trained on"].isin([BASE, FEWSHOT])] if "Trained on" in table else table
    counts = {int(n) for n in trained.get("Seeds", []) if n == n and n > 0} if "Seeds" in trained else set()
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


def said(target: Target, table: pd.DataFrame) -> str:
    """Return the sentences that a target writes from its numbers; "" where it writes none."""
    return target.says(table) if target.says and len(table) else ""


def words(target: Target, table: pd.DataFrame, notice: str = "") -> str:
    """Return what stands beside the files of a target: title, caption, what the spread is, and the notice."""
    parts = (target.title, said(target, table), " ".join(filter(None, (target.caption, seeds_note(table)))), notice)
    return "\n\n".join(filter(None, parts)) + "\n"


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with every number written out: two decimals, KL four, `-` where nothing was measured.

    Where rows name a quantity of their own, what is neither in points nor in percent has four decimals, too.
    """
    import pandas as pd

    named = table["Quantity"] if "Quantity" in table else [""] * len(table)
    fine = [bool(name) and not re.search("points|%", name) for name in named]

    def text(column: str, value: Any, small: bool) -> str:
        if pd.isna(value):
            return "-"
        if not isinstance(value, float):
            return str(value)
        decimals = 4 if small or column.startswith((KL, "Value")) else 2
        return f"{round(value, decimals) + 0.0:.{decimals}f}"

    columns = {name: list(map(text, [name] * len(table), table[name], fine)) for name in table}
    return pd.DataFrame(columns, dtype="str")


def cells(table: pd.DataFrame) -> pd.DataFrame:
    """Return the frame as text in which a value's SD or gain stands in its own cell: `45.47 ± 0.40`, `55.76 (+0.43)`.

    An SD of fewer than three seeds says next to nothing and is left to the CSV file.
    """
    text = as_text(table)
    names = [name for name in table if not name.endswith((" SD", " gain"))]
    enough = table["Seeds"].astype("float64").ge(BAND) if "Seeds" in table else None
    for name in names:
        spread, gain = text.get(f"{name} SD"), text.get(f"{name} gain")
        if spread is not None and enough is not None:
            text[name] = text[name].where(~enough | (spread == "-"), text[name] + " ± " + spread)
        if gain is not None:
            signed = gain.where(gain.str.startswith("-"), "+" + gain)
            text[name] = text[name].where(gain == "-", text[name] + " (" + signed + ")")
    return text[names].replace(r"(?<!\w)-(?=\d)", "−", regex=True)


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a target's frame as CSV: a header line, then numbers as in `as_text`."""
    write_text(path, csv_text(as_text(table)))


def read_csv(path: Path) -> pd.DataFrame:
    """Return the frame in a file of `write_csv`, at that file's precision."""
    import pandas as pd

    return pd.read_csv(path, na_values="-", keep_default_na=False, dtype=dict.fromkeys(_TEXT, "str"))
