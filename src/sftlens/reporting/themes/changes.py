"""What fine-tuning changed: how concentrated, and where it lies (paper section 6, Tables 3, 9 and 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sftlens.dag.targets import TARGETS, Chart, Layout, Target
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
TOP, BEYOND = "Top k (%)", "As trained minus permuted (points)"
BARS = "Bars: two SDs of a permutation either side."
LOG = "log₂ (share / share of parameters)"
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


def beyond_permuted(numbers: pd.DataFrame) -> pd.DataFrame:
    """Return a frame of `concentration` as one row a k: the share as trained minus permuted, in points.

    `Low` and `High` are two SDs of a permutation either side, NaN of a single one.
    """
    import pandas as pd

    keys = [*_KEYS, "Sum of"]
    tops = [name for name in numbers if name.startswith("Top ") and name.endswith("%")]
    found = []
    for key, rows in numbers.groupby(keys, sort=False):
        if not {*WEIGHTS.values()} <= {*rows["Changes"]}:
            continue
        shares = rows.set_index("Changes")[tops].astype("float64").reindex([*WEIGHTS.values(), SPREAD]).to_numpy()
        for top, trained, null, sd in zip(tops, *shares, strict=True):
            beyond = trained - null
            cell = dict(zip(keys, key, strict=True))
            found.append({**cell, TOP: top.split()[1], BEYOND: beyond, "Low": beyond - 2 * sd, "High": beyond + 2 * sd,
                          "As trained (%)": trained, "Permuted (%)": null, "Seeds": rows["Seeds"].max()})  # fmt: skip
    names = [*keys, TOP, BEYOND, "Low", "High", "As trained (%)", "Permuted (%)", "Seeds"]
    return pd.DataFrame(found, columns=names)


def draw_concentration(numbers: pd.DataFrame, notice: str) -> Figure:
    """Return the share held by the top k % as trained minus permuted, one line a training set."""
    numbers = beyond_permuted(numbers)
    groups = [rows for _, rows in numbers.groupby(_GROUP, sort=False)]
    kinds = [kind for kind in SUMS.values() if kind in set(numbers["Sum of"])] or [""]
    legend = [style.key(name) for name in dict.fromkeys(numbers["Trained on"])]
    note = BARS if numbers["Low"].notna().any() else "One permutation each, so its noise is not shown."
    figure, grid = style.page(
        len(groups), len(kinds), (2.6, 2.6), legend=[legend] if groups else [],
        foot=[f"{frames.seeds_note(numbers)} {note} {frames.gaps(numbers, BEYOND)}" if groups else "", notice],
    )  # fmt: skip
    for row, group in zip(grid, groups, strict=False):
        first = group.iloc[0]
        tops = list(dict.fromkeys(group[TOP]))
        for axes, kind in zip(row, kinds, strict=True):
            axes.axhline(0, color=style.GREY, lw=1.2, ls=(0, (5, 3)))
            for name, rows in group[group["Sum of"] == kind].groupby("Trained on", sort=False):
                colour, marker = style.look(str(name))
                noise = rows["High"] - rows[BEYOND] if rows["High"].notna().any() else None
                look = {"color": colour, "marker": marker, "elinewidth": 1, "capsize": 2, "lw": 1.3, **style.EDGE}
                axes.errorbar(rows[TOP].astype("float64"), rows[BEYOND], noise, **look)
            axes.set(xscale="log", xlabel=f"Top k % by {first['Criterion']}")
            axes.set_xticks([float(top) for top in tops], tops)
            axes.minorticks_off()
            axes.set_title(f"Σ {kind.replace('^2', '²')}, {first['Model']}, n = {first['n']}", loc="left", size=8.5)
        row[0].set_ylabel("As trained minus permuted\n(points of the total)")
    return figure


def over_expected(numbers: pd.DataFrame) -> pd.DataFrame:
    """Return a frame of `places` as one row a place and part: its share by its share of the parameters, log2."""
    import numpy as np
    import pandas as pd

    keys = [*_KEYS, "Layer", "Module"]
    numbers = numbers.assign(Module=numbers["Module"].astype("str").str.removesuffix("_proj"))
    parts = []
    for share, words in MAPS.items():
        ratio = (numbers[share] / numbers[PARAMETERS]).astype("float64")
        own = {"Part": words, LOG: np.log2(ratio.where(ratio > 0)), "Share (%)": numbers[share]}
        parts.append(numbers[[*keys, PARAMETERS, "Seeds"]].assign(**own))
    return pd.concat(parts, ignore_index=True)[[*keys, "Part", LOG, "Share (%)", PARAMETERS, "Seeds"]]


def draw_heatmap(numbers: pd.DataFrame, notice: str) -> Figure:
    """Return maps of layer by module: shares of the restored part and of the sum of d^2 by shares of parameters."""
    numbers = over_expected(numbers)
    groups = [rows for _, rows in numbers.groupby(_GROUP, sort=False)]
    sets = list(dict.fromkeys(numbers["Trained on"])) or [""]
    size = (1.9, min(6.0, 1.4 + 0.16 * (numbers["Layer"].nunique() or 1)))
    foot = f"{frames.seeds_note(numbers)} {frames.gaps(numbers, LOG)}"
    figure, grid = style.page(len(MAPS) * len(groups), len(sets), size, foot=[foot, notice])
    if not groups:
        return figure
    ends = max([1.0, *numbers[LOG].abs().dropna()])
    panels = [rows[rows["Part"] == part] for rows in groups for part in MAPS.values()]
    for row, own in zip(grid, panels, strict=True):
        for axes, trained in zip(row, sets, strict=True):
            image = _map(axes, own[own["Trained on"] == trained], ends)
            axes.set_title(f"{trained}, n = {own['n'].iloc[0]}", loc="left")
        row[0].set_ylabel(f"{own['Part'].iloc[0]}\nlayer")
    figure.colorbar(image, ax=grid[:2], shrink=0.8, label=LOG)
    return figure


def _map(axes: Axes, numbers: pd.DataFrame, ends: float) -> Any:
    grid = numbers.pivot_table(LOG, "Layer", "Module", sort=False, dropna=False)
    image = axes.imshow(grid.to_numpy(), cmap="RdBu", vmin=-ends, vmax=ends, aspect="auto", interpolation="nearest")
    axes.grid(visible=False)
    axes.set_xticks(range(len(grid.columns)), list(grid.columns), rotation=90)
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
    chart=Chart(TOP, BEYOND, "Trained on", "Sum of", frame=beyond_permuted, words=BARS),
))  # fmt: skip
TARGETS.add(Target(
    "heatmap", 54, "concentration", "Where the change lies",
    "Share of each projection of each block in the elements that are restored at k = 20 %, and in the sum of "
    "squared changes, by its share of the parameters (logarithm to base 2: 0 is as many as expected, 1 twice). Blue: "
    "more than its share; red: less.",
    lambda results: places(results, ["layer", "module"]), draw_heatmap,
    chart=Chart("Module", "Layer", "", "Part", LOG, frame=over_expected),
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
