"""What restoring parameters gives back, by criterion, ratio and block of layers (paper section 6, Tables 4 and 11)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sftlens.dag.targets import TARGETS, Chart, Layout, Target
from sftlens.reporting import frames, style
from sftlens.reporting.frames import ACCURACY, RATIO

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from sftlens.config.study import Study

ELEMENTS, D2 = "Elements changed (%)", "d^2 reverted (%)"
REVERTED = {
    "reverted_elements": ELEMENTS,
    "reverted_change": "r reverted (%)",
    "reverted_abs_d": "|d| reverted (%)",
    "reverted_d2": D2,
}
WHOLE = "none"
TASKS = {
    "xsum": {"rouge1": "XSum ROUGE-1", "rouge2": "XSum ROUGE-2", "rougeL": "XSum ROUGE-L"},
    "gsm8k": {"final_number": "GSM8K accuracy"},
}
"""The paper's other tasks -> metric -> what Table 5 calls it."""


def table4(results: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy after restoring k %, one column per training set, with the gain on k = 0."""
    keys = ["Model", "Criterion", "Region", "n", "Test set", RATIO]
    return frames.with_gains(frames.named(frames.restored(results)), keys, "Trained on")


def table11(results: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy after restoring all of a block of layers, one column per block, with gains on none."""
    rows = frames.restored(results)
    rows = rows[rows["region"].str.fullmatch(r"layers\d+-\d+") & rows["ratio"].isin([0, 100])]
    rows = frames.named(rows.assign(region=rows["region"].where(rows["ratio"] > 0, WHOLE)))
    rows["Block"] = rows["region"].str.replace("layers", "layers ")
    rows = rows.drop_duplicates(["Model", "n", "Test set", "Block", "train_set", "seed", "strategy"])
    blocks = sorted(set(rows["Block"]), key=lambda name: (name != WHOLE, [int(i) for i in re.findall(r"\d+", name)]))
    return frames.with_gains(rows, ["Model", "n", "Test set", "Trained on"], "Block", blocks)


def table6(results: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy on the model's own training set after restoring k %, one column per training set, with gains."""
    rows = frames.named(frames.restored(results, "all", ["train"]))
    keys = ["Model", "Criterion", "Region", "n", RATIO]
    return frames.with_gains(rows, keys, "Trained on")


def table5(results: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of models that were fine-tuned on a task, on its test examples, after restoring k %."""
    rows = frames.restored(results, "all", TASKS, [metric for metrics in TASKS.values() for metric in metrics])
    rows = rows[rows["train_set"] == rows["split"]]
    names = {(task, metric): name for task, metrics in TASKS.items() for metric, name in metrics.items()}
    score = [names.get(place, "") for place in zip(rows["split"], rows["metric"], strict=True)]
    rows = frames.named(rows.assign(Score=score))
    keys = ["Model", "Criterion", "Region", "n", RATIO]
    return frames.with_gains(rows[rows["Score"] != ""], keys, "Score", list(names.values()))


def restoration(results: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy after each restoration beside the share of the change that it reverted."""
    import pandas as pd

    accuracies = frames.restored(results).assign(what=ACCURACY)
    cell = [*frames.CELL, "criterion", "region", "ratio", RATIO]
    reverted = results[(results["stage"] == "restore") & results["metric"].isin(list(REVERTED))]
    reverted = reverted.assign(value=reverted["value"] * 100, what=reverted["metric"].map(REVERTED))
    reverted[RATIO] = [f"{ratio:g}" for ratio in reverted["ratio"]]
    plain = accuracies.loc[accuracies["ratio"] == 0, cell].drop_duplicates()
    plain = plain.merge(pd.DataFrame({"what": REVERTED}), "cross").assign(value=0.0)
    reverted = pd.concat([reverted[[*cell, "what", "value"]], plain])
    reverted = reverted.merge(accuracies[[*cell, "split"]].drop_duplicates(), on=cell)
    rows = frames.named(pd.concat([accuracies[list(reverted)], reverted]))
    keys = ["Model", "Region", "n", "Test set", "Trained on", "Criterion", RATIO]
    return frames.pivot(rows, keys, "what", [ACCURACY, *REVERTED.values()])


def draw_restoration(numbers: pd.DataFrame, notice: str) -> Figure:
    """Return the change of accuracy against k, and against the share of the sum of d^2 that was reverted.

    A row of two panels for each model, region, n and test set; colours are training sets, line styles criteria.
    """
    import numpy as np

    groups = [rows for _, rows in numbers.groupby(["Model", "Region", "n", "Test set"], sort=False)]
    sets, criteria = (list(dict.fromkeys(numbers[name])) for name in ("Trained on", "Criterion"))
    legend = [
        [style.key(name) for name in sets],
        [style.key(name, color=style.GREY, ls=style.line(name)) for name in criteria],
    ]
    gaps = frames.gaps(numbers, ACCURACY)
    figure, grid = style.page(
        len(groups), 2, (3.3, 2.8), legend=legend if groups else [],
        foot=[frames.seeds_note(numbers).replace("Mean ± SD", "Mean"), gaps, notice],
    )  # fmt: skip
    for row, group in zip(grid, groups, strict=False):
        first = group.iloc[0]
        for axes in row:
            axes.axhline(0, color=style.GREY, lw=1)
        for (trained, criterion), line in group.groupby(["Trained on", "Criterion"], sort=False):
            start = line.loc[line[RATIO] == "0", ACCURACY].to_numpy()
            colour, marker = style.look(str(trained))
            look = {"ls": style.line(str(criterion)), "marker": marker, "markersize": 4.5, "lw": 1.3, **style.EDGE}
            gain = line[ACCURACY].to_numpy() - start[:1]
            for axes, x in zip(row, (RATIO, D2), strict=True):
                at = line[x].to_numpy(dtype="float64")
                places = [i for i in np.argsort(at, kind="stable") if at[i] == at[i]] if len(start) else []
                if places:
                    axes.plot(at[places], gain[places], color=colour, **look)
        for axes, label in zip(row, ("k (% of elements)", "Reverted of Σ d² (%)"), strict=True):
            axes.set_xlabel(label)
        region = "" if first["Region"] == "transformer" else f", {first['Region']}"
        row[0].set_title(f"{first['Model']}, n = {first['n']}, {first['Test set']}{region}", loc="left")
        row[0].set_ylabel("Accuracy minus k = 0 (points)")
    return figure


def _on_tasks(study: Study) -> bool:
    asked = study.experiments.restoration
    return asked is not None and not set(TASKS).isdisjoint(asked.train_sets)


TARGETS.add(Target(
    "table4", 60, "restoration", "Accuracy after restoring parameters",
    "Macro accuracy in percent after setting the k % of the elements that rank first back to their "
    "pre-trained values, without further training; columns are training sets. In brackets, the gain "
    "or loss in points on k = 0, which is the same fine-tuned models as they were "
    "evaluated. Paper: Table 4.",
    table4, layout=Layout(("Model", "Criterion", "Region", "n", RATIO), ("Test set",)), tints="gains",
))  # fmt: skip
TARGETS.add(Target(
    "restoration", 62, "restoration", "Which parameters are restored, or how many",
    "Macro accuracy after setting the k % of the elements that rank first by a criterion back to their pre-trained "
    "values, minus that at k = 0: on the left against k, on the right against the share of the sum of squared changes "
    "that this reverted. Interpolation restores no element in particular: all are moved towards the base, as far as "
    "reverts as much of that sum as relative, the paper's criterion. Where the lines of a training set lie upon each "
    "other on the right, it matters how much was reverted and not which elements. Intervals: see gains.",
    restoration, draw_restoration,
    chart=Chart(RATIO, ACCURACY, "Trained on", "Test set",
                words="Here: the accuracies themselves against k. The differences are in the file."),
))  # fmt: skip
TARGETS.add(Target(
    "table5", 62.5, "restoration", "Other tasks after restoring parameters",
    "Scores, in percent, of models that were fine-tuned on a task, on its test examples, after setting the k % of the "
    "elements that rank first back to their pre-trained values: ROUGE F-measures with stemming, and the share of "
    "examples whose final number is right. In brackets, the gain or loss in points on k = 0. Paper: Table 5.",
    table5, layout=Layout(("Model", "Criterion", "Region", "n", RATIO)),
    shows=lambda study, model: _on_tasks(study), needs="models restored after XSum or GSM8K (restoration.train_sets)",
))  # fmt: skip
TARGETS.add(Target(
    "table6", 63, "restoration", "Accuracy on the training set after restoring parameters",
    "Share in percent of a model's own training questions that it answers, after setting the k % of the elements that "
    "rank first back to their pre-trained values; columns are training sets. In brackets, the gain or loss in points "
    "on k = 0. Paper: Table 6.",
    table6, layout=Layout(("Model", "Criterion", "Region", "n", RATIO)),
))  # fmt: skip
TARGETS.add(Target(
    "table11", 64, "blocks", "Accuracy after restoring blocks of layers",
    "Macro accuracy in percent after setting every projection of a block of layers (columns) back to the pre-trained "
    "values; rows are training sets. In brackets, the gain or loss in points on none. Paper: Table 11 (ID).",
    table11, layout=Layout(("Model", "Test set", "n", "Trained on")),
))  # fmt: skip
