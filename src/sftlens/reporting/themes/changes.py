"""What fine-tuning changed: how concentrated, and where it lies (paper section 6, Tables 3, 9 and 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sftlens.dag.targets import TARGETS, Layout, Target
from sftlens.reporting import frames, style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUMS = {"change": "r", "abs_d": "|d|", "d2": "d^2"}
"""Ends of names of metrics -> the quantity that is summed."""
WEIGHTS = {"": "as trained", "null_": "permuted"}
SPREAD = "permuted: SD of a draw"
ZEROS, HELD = "Elements with base 0", "Held by them"
PARAMETERS, UNCHANGED, RESTORED = "Parameters (%)", "Unchanged (%)", "Restored part (%)"
PLACES = {
    "place_elements": PARAMETERS,
    "place_restored": RESTORED,
    "place_null_restored": "Restored part, permuted (%)",
    "place_sum_r": "Sum of r (%)",
    "place_sum_abs_d": "Sum of |d| (%)",
    "place_sum_d2": "Sum of d^2 (%)",
}
MAPS = {RESTORED: "first 20 %", "Sum of d^2 (%)": "sum of d²"}
_PLACE = {"layer": "Layer", "module": "Module"}
_KEYS = ["Model", "Criterion", "Region", "n", "Trained on"]
_GROUP = _KEYS[:4]


def concentration(results: pd.DataFrame) -> pd.DataFrame:
    """Return the share of each sum of change held by the top k %, as trained and with the changes permuted.

    Of several permutations their mean, and their SD in rows of its own.
    Where a base has elements that are exactly 0: also how many, and the share that they hold.
    """
    import pandas as pd

    names = {**WEIGHTS, "null_sd_": SPREAD}
    kinds = {f"{start}share_of_{end}": (SUMS[end], names[start]) for start in names for end in SUMS}
    held = {f"zero_base_share_of_{end}": (SUMS[end], WEIGHTS[""]) for end in SUMS}
    rows = results[results["stage"] == "changes"]
    zeros = rows[rows["metric"].isin(list(held)) & (rows["n"] > 0)]
    rows = rows[rows["metric"].isin(list(kinds))]
    columns = [f"Top {ratio:g} %" for ratio in sorted(rows["ratio"].unique())]
    rows = rows.assign(value=rows["value"] * 100, top=[f"Top {ratio:g} %" for ratio in rows["ratio"]])
    counts = zeros.assign(value=zeros["n"].astype("float64"), top=ZEROS)
    rows = pd.concat([rows, counts, zeros.assign(value=zeros["value"] * 100, top=HELD)]) if len(zeros) else rows
    kinds |= held
    kind = {"Sum of": [kinds[m][0] for m in rows["metric"]], "Changes": [kinds[m][1] for m in rows["metric"]]}
    columns += [ZEROS, HELD] if len(zeros) else []
    table = frames.pivot(frames.named(rows.assign(**kind)), [*_KEYS, "Sum of", "Changes"], "top", columns, [ZEROS])
    return table.assign(**{ZEROS: table[ZEROS].round().astype("Int64")}) if ZEROS in table else table


def places(results: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Return shares of the parameters, of the restored part and of the change by `by`: layer, module."""
    rows = results[(results["stage"] == "changes") & results["metric"].str.startswith("place_")]
    rows = rows[rows["module"] != ""].assign(layer=rows["layer"].replace("", "outside the blocks"))
    rows["held"] = (rows["value"] * rows["n"]).where(rows["metric"] == "place_unchanged")
    keys = [*frames.CELL, "criterion", "region", *by, "metric"]
    groups = rows.sort_values(["layer", "module"]).groupby(keys, sort=True)
    table = groups.agg({"value": "sum", "held": "sum", "n": "sum"}).reset_index()
    # A share of a place's own elements is a mean over what lies in it; all others are parts of a whole and add up.
    table["value"] = (table["held"] / table["n"]).where(table["metric"] == "place_unchanged", table["value"]) * 100
    table["metric"] = table["metric"].map(PLACES | {"place_unchanged": UNCHANGED})
    table = frames.in_order(frames.named(table.assign(split="")), ["Model", "Criterion", "Region"], frames.named(rows))
    table = table.assign(**{_PLACE[name]: table[name] for name in by})
    keys, names = [*_KEYS, *(_PLACE[name] for name in by)], [*PLACES.values(), UNCHANGED]
    return frames.pivot(table, keys, "metric", names, constant=[PARAMETERS])


def draw_concentration(numbers: pd.DataFrame, notice: str) -> Figure:
    """Return the share held by the top k % as trained minus permuted, one line a training set."""
    groups = [rows for _, rows in numbers.groupby(_GROUP, sort=False)]
    kinds = [kind for kind in SUMS.values() if kind in set(numbers["Sum of"])] or [""]
    tops = [name for name in numbers if name.startswith("Top ") and name.endswith("%")]
    legend = [style.key(name) for name in dict.fromkeys(numbers["Trained on"])]
    drawn = (numbers["Changes"] == SPREAD).any()
    note = (
        "Bars: two SDs of a permutation either side." if drawn else "One permutation each, so its noise is not shown."
    )
    figure, grid = style.page(
        len(groups), len(kinds), (2.6, 2.6), legend=[legend] if groups else [],
        foot=[f"{frames.seeds_note(numbers).replace('Mean ± SD', 'Mean')} {note}" if groups else "", notice],
    )  # fmt: skip
    x = [float(name.split()[1]) for name in tops]
    for row, group in zip(grid, groups, strict=False):
        first = group.iloc[0]
        for axes, kind in zip(row, kinds, strict=True):
            axes.axhline(0, color=style.GREY, lw=1.2, ls=(0, (5, 3)))
            for name, own in group[group["Sum of"] == kind].groupby("Trained on", sort=False):
                rows = own.set_index("Changes")[tops].astype("float64")
                if not set(WEIGHTS.values()) <= set(rows.index):
                    continue
                colour, marker = style.look(str(name))
                beyond = rows.loc[WEIGHTS[""]] - rows.loc[WEIGHTS["null_"]]
                noise = 2 * rows.loc[SPREAD] if SPREAD in rows.index else None
                axes.errorbar(
                    x, beyond, noise, color=colour, marker=marker, elinewidth=1, capsize=2, lw=1.3, **style.EDGE
                )
            axes.set(xscale="log", xlabel=f"Top k % by {first['Criterion']}")
            axes.set_xticks(x, [name.split()[1] for name in tops])
            axes.minorticks_off()
            axes.set_title(f"Σ {kind.replace('^2', '²')}, {first['Model']}, n = {first['n']}", loc="left", size=8.5)
        row[0].set_ylabel("As trained minus permuted\n(points of the total)")
    return figure


def draw_heatmap(numbers: pd.DataFrame, notice: str) -> Figure:
    """Return maps of layer by module: shares of the restored part and of the sum of d^2 by shares of parameters."""
    import numpy as np

    groups = [rows for _, rows in numbers.groupby(_GROUP, sort=False)]
    sets = list(dict.fromkeys(numbers["Trained on"])) or [""]
    size = (1.9, min(6.0, 1.4 + 0.16 * (numbers["Layer"].nunique() or 1)))
    seeds = frames.seeds_note(numbers).replace("Mean ± SD", "Mean")  # a cell of a map has no place for a spread
    figure, grid = style.page(len(MAPS) * len(groups), len(sets), size, foot=[seeds, notice])
    if not groups:
        return figure
    shares = {name: (numbers[name] / numbers[PARAMETERS]).astype("float64") for name in MAPS}
    ratio = {name: np.log2(share.where(share > 0)) for name, share in shares.items()}
    ends = max([1.0, *(float(values.abs().max()) for values in ratio.values() if values.notna().any())])
    for row, (group, name) in zip(grid, ((group, name) for group in groups for name in MAPS), strict=True):
        for axes, trained in zip(row, sets, strict=True):
            image = _map(axes, group[group["Trained on"] == trained], ratio[name], ends)
            axes.set_title(f"{trained}, n = {group['n'].iloc[0]}", loc="left")
        row[0].set_ylabel(f"{MAPS[name]}\nlayer")
    figure.colorbar(image, ax=grid[:2], shrink=0.8, label="log₂ (share / share of parameters)")
    return figure


def _map(axes: Axes, numbers: pd.DataFrame, values: pd.Series, ends: float) -> Any:
    grid = numbers.assign(value=values).pivot_table("value", "Layer", "Module", sort=False, dropna=False)
    image = axes.imshow(grid.to_numpy(), cmap="RdBu_r", vmin=-ends, vmax=ends, aspect="auto", interpolation="nearest")
    axes.grid(visible=False)
    axes.set_xticks(range(len(grid.columns)), [name.removesuffix("_proj") for name in grid.columns], rotation=90)
    step = max(1, len(grid) // 8)
    axes.set_yticks(range(0, len(grid), step), list(grid.index)[::step])
    return image


TARGETS.add(Target(
    "table3", 50, "concentration", "How concentrated the change of the parameters is",
    "Share in percent of the total change that lies in the k % of the elements that rank first: of the relative "
    "change r = |s - p| / (|p| + 1e-8), which the paper prints, and of d = s - p. Permuted: the same changes "
    "dealt out at random within each tensor. Where that gives the same shares they are arithmetic (dividing by "
    "|p| near zero suffices) and no sign of learning; the SD of a draw says how far one permutation may be off. "
    "Elements whose base is exactly 0, as a dequantised model has them, are counted where there are any: their r "
    "divides by 1e-8, so a few of them can hold all of its sum. Paper: Table 3.",
    concentration, layout=Layout(("Model", "Criterion", "Region", "Changes", "Sum of", "n", "Trained on")),
))  # fmt: skip
TARGETS.add(Target(
    "concentration", 52, "concentration", "How concentrated the change is, and how much of that is arithmetic",
    "Share of the total change that lies in the k % of the elements that rank first, minus the same with the changes "
    "dealt out at random within each tensor, in points; d = s - p and r = |d| / (|p| + 1e-8). On the dashed line the "
    "concentration is arithmetic: dividing by |p| near zero suffices. The shares themselves stand in Table 3.",
    concentration, draw_concentration,
))  # fmt: skip
TARGETS.add(Target(
    "heatmap", 54, "concentration", "Where the change lies",
    "Share of each projection of each block in the elements that are restored at k = 20 %, and in the sum of "
    "squared changes, by its share of the parameters (logarithm to base 2: 0 is as many as expected, 1 twice).",
    lambda results: places(results, ["layer", "module"]), draw_heatmap,
))  # fmt: skip
TARGETS.add(Target(
    "table9", 56, "concentration", "What changed, and what is restored, by layer",
    "Share in percent of the region's parameters, of the 20 % of the elements that rank first (permuted: with the "
    "changes dealt out at random within each tensor), and of the sums of the change; and the share of the layer's "
    "own elements that training left as they were. Paper: Table 9, which does not say its k.",
    lambda results: places(results, ["layer"]),
    layout=Layout((*_KEYS[:3], "Layer", PARAMETERS), ("n", "Trained on"), (RESTORED,)),
))  # fmt: skip
TARGETS.add(Target(
    "table10", 58, "concentration", "What changed, and what is restored, by module",
    "The same by projection, over all layers. Paper: Table 10.",
    lambda results: places(results, ["module"]),
    layout=Layout((*_KEYS[:3], "Module", PARAMETERS), ("n", "Trained on"), (RESTORED,)),
))  # fmt: skip
