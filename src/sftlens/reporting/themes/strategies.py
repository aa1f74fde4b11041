"""Which way of fine-tuning keeps what the model knows, at equal tuning budget: strategies and post-hoc methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftlens import files
from sftlens.dag.cells import BASE, Product, number, pilot, way
from sftlens.dag.contrasts import Condition
from sftlens.dag.targets import TARGETS, Target
from sftlens.data.buckets import BUCKETS
from sftlens.reporting import frames, style
from sftlens.results import choosing
from sftlens.statistics import intervals
from sftlens.strategies import DEFAULT

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sftlens.results.answers import Answers

CHOSEN, YES = "Chosen on dev", "yes"
OOD, TRAIN = "OOD test", "Training set"
_GROUP = ["Model", "Trained on", "n"]
_TESTS = {"test": "ID test", "testood": OOD}
_NUMBERS = [
    "Dev", *(f"{name}{end}" for name in (*_TESTS.values(), TRAIN) for end in ("", " low", " high")), *BUCKETS,
    "Mastery probed again", "KL (nats)", "Norm of the change", "Seconds", "Peak memory (MB)",
    *(f"{name} minus full{end}" for name in _TESTS.values() for end in ("", " low", " high")),
]  # fmt: skip
_COLUMNS, _PANEL = 4, (2.0, 1.65)


def settings(answers: Answers) -> pd.DataFrame:
    """Return every strategy and post-hoc method at each of its settings, one row each, the base model before them.

    Columns: text that names the row, and CHOSEN (`yes`: of the strategy's settings the best on dev facts); then
    accuracies in percent, those on test and the training set with 95 % intervals, per bucket on ID test; mastery probed
    again in percent; KL in nats; the Euclidean norm of the change; CPU seconds (GPU seconds on GPUs) of training, a
    pilot's counted; main memory; and, paired on seeds and questions, the difference to full fine-tuning at the setting
    that dev chose for it, in points. NaN where nothing was measured.
    """
    import pandas as pd

    dev = choosing.scores(answers.results, "dev")
    groups: dict[tuple[str, str, str], dict[str, list[Condition]]] = {}
    for one in answers.grid:
        if one.trained:
            ways = groups.setdefault((one.model, one.train_set, one.scale), {})
            ways.setdefault(one.criterion or way(one.strategy)[0], []).append(one)
    rows: list[dict[str, Any]] = []
    for group, ways in groups.items():
        chosen = {name: choosing.best(found, dev) for name, found in ways.items()}
        for name, found in {frames.BASE: [Condition(group[0], BASE, "0", BASE)], **ways}.items():
            for one in found:
                row: dict[str, Any] = {**dict(zip(_GROUP, group, strict=True)), "Strategy": name}
                row |= {"Setting": _setting(answers, one)}
                row |= {CHOSEN: YES if one == chosen.get(name) else "", "Dev": 100 * dev.get(one, float("nan"))}
                rows.append(row | _accuracies(answers, one, chosen.get(DEFAULT)) | _others(answers, one))
    table = pd.DataFrame(rows, columns=[*_GROUP, "Strategy", "Setting", CHOSEN, *_NUMBERS])
    return table.astype(dict.fromkeys(_NUMBERS, "float64"))


def chosen(answers: Answers) -> pd.DataFrame:
    """Return the same of the settings that dev chose, one row a strategy, and from how many each was chosen."""
    table = settings(answers)
    table.insert(5, "Settings", table.groupby([*_GROUP, "Strategy"], sort=False)["Setting"].transform("size"))
    kept = table[(table[CHOSEN] == YES) | (table["Strategy"] == frames.BASE)]
    return kept.drop(columns=CHOSEN).reset_index(drop=True)


def _setting(answers: Answers, one: Condition) -> str:
    if one.ratio is not None:
        return f"k = {number(one.ratio)} %"
    rate = way(one.strategy)[1] or answers.paths.study.finetuning.learning_rate
    return f"lr {rate:g}" if one.trained else ""


def _accuracies(answers: Answers, one: Condition, full: Condition | None) -> dict[str, float]:
    """Return macro accuracies on the test sets and their differences to `full`, each with its interval."""
    import numpy as np

    from sftlens.statistics import crossed

    row: dict[str, float] = {}
    for split, name in _TESTS.items():
        own, reference = ({seed: 100.0 * y for seed, y in answers.contains(c, split).items()} if c else {}
                          for c in (one, full))  # fmt: skip
        paired = [own[seed] - reference[seed] for seed in own if seed in reference and one != full and one.trained]
        for label, found in ((name, list(own.values())), (f"{name} minus full", paired)):
            if found:
                estimate = crossed.accuracy(np.stack(found), answers.questions(one.model, split).buckets)
                row |= {label: estimate.value, f"{label} low": estimate.low, f"{label} high": estimate.high}
    return row


def _others(answers: Answers, one: Condition) -> dict[str, float | None]:
    """Return what else was measured of a condition, mean over seeds."""
    rows = answers.results
    rows = rows[(rows["model"] == one.model) & (rows["train_set"] == one.train_set) & (rows["scale"] == one.scale)]
    rows = rows[(rows["strategy"] == one.strategy) & (rows["relation"] == "")]
    if one.ratio is None:
        rows = rows[rows["stage"] != "restore"]
    else:
        here = (rows["criterion"] == one.criterion) & (rows["region"] == one.region) & (rows["ratio"] == one.ratio)
        rows = rows[(rows["stage"] == "restore") & here]

    def values(metric: str, split: str = "", bucket: str = "") -> pd.Series:
        found = rows[(rows["metric"] == metric) & (rows["split"] == split) & (rows["bucket"] == bucket)]
        return found.drop_duplicates("seed")["value"]

    row: dict[str, float | None] = {name: 100 * values("contains", "test", name).mean() for name in BUCKETS}
    if len(trained := 100 * values("contains", "train", "all")):
        row |= dict(zip((TRAIN, f"{TRAIN} low", f"{TRAIN} high"), intervals.mean(trained.tolist()), strict=True))
    row["Mastery probed again"] = 100 * values("reprobed_mastery", "test", "all").mean()
    kl = rows[(rows["stage"] == "divergence") & (rows["metric"] == "kl")]
    row |= {"KL (nats)": kl["value"].mean(), "Norm of the change": values("distance_to_base").mean()}
    trained_by = answers.conditions.get(one, {}).values() if one.trained else ()
    if spent := [found for product in trained_by if (found := _spent(answers, product))]:
        row |= {
            name: sum(part) / len(spent) for name, *part in zip(("Seconds", "Peak memory (MB)"), *spent, strict=True)
        }
    return row


def _spent(answers: Answers, product: Product) -> tuple[float, float] | None:
    """Return the seconds that a model's training took, its pilot's and its restoration's counted, and MB of memory.

    None where a summary is missing, or is from before CPU seconds were recorded.
    """

    def run(product: Product) -> Mapping[str, Any]:
        path = Path(answers.paths.summary(product))
        return files.read_json(path, dict[str, Any])["run"] if path.is_file() else {}

    cell, study = product.cell, answers.paths.study
    launch = study.models[cell.model].launch
    key, devices = ("training_seconds", launch.world_size) if launch.gpus_per_node else ("training_cpu_seconds", 1)
    earlier = pilot(study, cell)
    runs = [run(Product("finetune", one)) for one in (cell, earlier) if one]
    if not all(key in found for found in runs):
        return None
    restoring = run(product).get("restoring_cpu_seconds", 0.0) if product.stage == "restore" else 0.0
    seconds = devices * sum(found[key] for found in runs) + restoring
    return seconds, max(found["peak_memory_bytes"] for found in runs) / 1e6


def draw(numbers: pd.DataFrame, notice: str) -> Figure:
    """Return the picture: a panel for each strategy, its settings among those of all, black on grey.

    x is what was learned (accuracy on the training set), y what was kept (macro accuracy on OOD test).
    """
    groups = [rows for _, rows in numbers.groupby(_GROUP, sort=False)]
    panels = [[rows[rows["Strategy"] == name] for name in dict.fromkeys(rows["Strategy"])
               if name != frames.BASE] for rows in groups]  # fmt: skip
    lines = [-(-len(found) // _COLUMNS) for found in panels]
    legend = (
        [
            style.key("chosen on dev", color=style.CHOSEN, marker="o", ls="-", lw=0.8),
            style.key(
                "another setting: the larger, the higher its rate or k",
                color=style.CHOSEN,
                marker="o",
                mfc="white",
                ls="",
            ),
        ],
        [
            style.key("every other strategy's settings", color=_PALE, marker="o", ls="", ms=3),
            style.key("full, chosen on dev", color=style.GREY, marker="P", ls="", ms=7),
            style.key(frames.BASE, color=style.GREY, ls=(0, (5, 3)), lw=1.1),
        ],
    )
    figure, grid = style.page(
        sum(lines), _COLUMNS, _PANEL, legend=legend, sharex=True, sharey=True,
        foot=["Bars: 95 % intervals, over seeds and questions.", notice],
    )  # fmt: skip
    first = 0
    for rows, found, count in zip(groups, panels, lines, strict=True):
        for place, axes in enumerate(grid[first : first + count].flat):
            if place >= len(found):
                axes.set_axis_off()
                continue
            if rows[OOD].isna().all():
                style.nothing(axes, f"{found[place]['Strategy'].iloc[0]}: no mean\nover the OOD buckets")
                continue
            _panel(axes, rows, found[place])
            axes.set_ylabel("OOD test (%)" if place % _COLUMNS == 0 else "")
            lowest = place + _COLUMNS >= len(found)
            axes.set_xlabel("Training set (%)" if lowest else "")
            axes.tick_params(labelbottom=lowest)
        first += count
    return figure


_PALE = "#c4c4c4"


def _panel(axes: Axes, rows: pd.DataFrame, own: pd.DataFrame) -> None:
    name = own["Strategy"].iloc[0]
    full = rows[(rows["Strategy"] == DEFAULT) & (rows[CHOSEN] == YES)]
    base = rows[rows["Strategy"] == frames.BASE]
    for kept in base[OOD]:
        axes.axhline(kept, color=style.GREY, lw=1.1, ls=(0, (5, 3)), zorder=1)
    others = rows[rows["Strategy"] != name]
    axes.plot(others[TRAIN], others[OOD], "o", color=_PALE, ms=3, mew=0, zorder=1)
    if name != DEFAULT:
        axes.plot(full[TRAIN], full[OOD], "P", color=style.GREY, ms=7, mew=0, zorder=2)
    own = own.assign(size=own["Setting"].str.extract(r"([\d.e-]+)", expand=False).astype("float64"))
    own = own.sort_values("size", kind="stable")
    axes.plot(own[TRAIN], own[OOD], "-", color=style.CHOSEN, lw=0.8, zorder=3)
    for place, (_, one) in enumerate(own.iterrows()):
        picked = one[CHOSEN] == YES
        spread: list[Sequence[list[float]] | None] = [
            [[one[middle] - one[f"{middle} low"]], [one[f"{middle} high"] - one[middle]]] for middle in (TRAIN, OOD)
        ]
        axes.errorbar(
            one[TRAIN], one[OOD], xerr=spread[0], yerr=spread[1], fmt="o", ms=4 + 2 * place, color=style.CHOSEN,
            mfc=style.CHOSEN if picked else "white", mew=0.9, elinewidth=0.8, capsize=0, zorder=5 if picked else 4,
        )  # fmt: skip
    axes.set_title(name, loc="left")


_RULE = (
    "Of each strategy's settings, the one with the highest accuracy on dev facts is chosen; test facts choose "
    "nothing. Post-hoc methods start from full fine-tuning at the recipe's learning rate. "
)
TARGETS.add(Target(
    "tradeoff", 70, "strategies", "Knowledge kept against task learned",
    "Each panel is a strategy or post-hoc method, each point one of its settings: accuracy on the training set (what "
    "was learned) and macro accuracy on OOD test (what was kept). Up and to the right is better. " + _RULE,
    settings, draw, answers=True,
))  # fmt: skip
TARGETS.add(Target(
    "strategies", 71, "strategies", "Strategies at equal tuning budget",
    _RULE + "Accuracies in percent, on ID test also per mastery bucket, with 95 % intervals over seeds and questions "
    "(training set: over seeds); mean mastery of a sample of test facts, probed again; norm of the change of the "
    "region's parameters; CPU seconds of training (GPU seconds on GPUs), a pilot's training and the restoring counted; "
    "peak main memory of the training process. Minus full: the difference in points to full fine-tuning at its own "
    "chosen setting, paired on seeds and questions.",
    chosen, answers=True,
))  # fmt: skip
