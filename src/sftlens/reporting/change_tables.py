"""What fine-tuning changed and what restoring reverts, as readable frames made from results.parquet."""

from collections.abc import Callable

import pandas as pd

from sftlens.reporting import frames

SUMS = {"change": "r", "abs_d": "|d|", "d2": "d^2"}
"""Ends of names of metrics -> the quantity that is summed."""
WEIGHTS = {"": "as trained", "null_": "permuted"}
PLACES = {
    "place_elements": "Parameters (%)",
    "place_restored": "Restored part (%)",
    "place_null_restored": "Restored part, permuted (%)",
    "place_sum_r": "Sum of r (%)",
    "place_sum_abs_d": "Sum of |d| (%)",
    "place_sum_d2": "Sum of d^2 (%)",
}
UNCHANGED = "Unchanged (%)"
REVERTED = {
    "reverted_elements": "Elements changed (%)",
    "reverted_change": "r reverted (%)",
    "reverted_abs_d": "|d| reverted (%)",
    "reverted_d2": "d^2 reverted (%)",
}
WHOLE = "none"
_PLACE = {"layer": "Layer", "module": "Module"}
_KEYS = ["Model", "Criterion", "Region", "n", "Trained on"]


def concentration(results: pd.DataFrame) -> pd.DataFrame:
    """Share of each sum of change held by the top k %, as trained and with the changes permuted (paper Table 3)."""
    kinds = {f"{null}share_of_{end}": (SUMS[end], WEIGHTS[null]) for null in WEIGHTS for end in SUMS}
    rows = results[(results["stage"] == "changes") & results["metric"].isin(list(kinds))].sort_values("seed")
    names = [f"Top {ratio:g} %" for ratio in sorted(rows["ratio"].unique())]
    top = [f"Top {ratio:g} %" for ratio in rows["ratio"]]
    kind = {"Sum of": [kinds[m][0] for m in rows["metric"]], "Changes": [kinds[m][1] for m in rows["metric"]]}
    rows = frames.named(rows.assign(value=rows["value"] * 100, top=top, **kind))
    return frames.pivot(rows, [*_KEYS, "Sum of", "Changes"], "top", names)


def places(results: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Shares of the parameters, of the restored part and of the change by `by`: layer, module (Tables 9 and 10)."""
    rows = results[(results["stage"] == "changes") & results["metric"].str.startswith("place_")]
    rows = rows[rows["module"] != ""].assign(layer=rows["layer"].replace("", "outside the blocks"))
    rows["held"] = (rows["value"] * rows["n"]).where(rows["metric"] == "place_unchanged")
    cell = ["model", "train_set", "scale", "seed", "strategy", "criterion", "region"]
    groups = rows.sort_values(["layer", "module"]).groupby([*cell, *by, "metric"], sort=True)
    table = groups.agg({"value": "sum", "held": "sum", "n": "sum"}).reset_index()
    table["value"] = (table["held"] / table["n"]).where(table["metric"] == "place_unchanged", table["value"]) * 100
    table["metric"] = table["metric"].map(PLACES | {"place_unchanged": UNCHANGED})
    table = frames.named(table.assign(split="", **{_PLACE[name]: table[name] for name in by}))
    return frames.pivot(table, [*_KEYS, *(_PLACE[name] for name in by)], "metric", [*PLACES.values(), UNCHANGED])


def restoration(results: pd.DataFrame) -> pd.DataFrame:
    """Accuracy after each restoration beside the share of the change that it reverted."""
    accuracies = frames.restored(results).assign(what=frames.ACCURACY)
    cell = ["model", "train_set", "scale", "seed", "strategy", "criterion", "region", "ratio"]
    reverted = results[(results["stage"] == "restore") & results["metric"].isin(list(REVERTED))]
    reverted = reverted.assign(value=reverted["value"] * 100, what=reverted["metric"].map(REVERTED))
    plain = (
        accuracies.loc[accuracies["ratio"] == 0, cell]
        .drop_duplicates()
        .merge(pd.DataFrame({"what": REVERTED}), "cross")
    )
    reverted = pd.concat([reverted[[*cell, "what", "value"]], plain.assign(value=0.0)])
    reverted = reverted.merge(accuracies[[*cell, "split"]].drop_duplicates(), on=cell)
    rows = frames.named(pd.concat([accuracies[list(reverted)], reverted]).sort_values("seed", kind="stable"))
    rows["Restored (%)"] = [f"{ratio:g}" for ratio in rows["ratio"]]
    keys = ["Model", "Region", "n", "Test set", "Trained on", "Criterion", "Restored (%)"]
    return frames.pivot(rows, keys, "what", [frames.ACCURACY, *REVERTED.values()])


def blocks(results: pd.DataFrame) -> pd.DataFrame:
    """Accuracy after restoring all of a block of layers, one column per training set, with gains (paper Table 11)."""
    rows = frames.restored(results)
    rows = rows[rows["region"].str.fullmatch(r"layers\d+-\d+") & rows["ratio"].isin([0, 100])]
    rows = frames.named(rows.assign(region=rows["region"].where(rows["ratio"] > 0, WHOLE)))
    rows["Block restored"] = rows["region"].str.replace("layers", "layers ")
    seen = ["Model", "n", "Test set", "Block restored", "train_set", "seed", "strategy"]
    return frames.with_gains(rows.drop_duplicates(seen), ["Model", "n", "Test set", "Block restored"])


BUILDERS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "table3": concentration,
    "table9": lambda results: places(results, ["layer"]),
    "table10": lambda results: places(results, ["module"]),
    "table11": blocks,
    "restoration": restoration,
    "concentration": concentration,
    "heatmap": lambda results: places(results, ["layer", "module"]),
}
