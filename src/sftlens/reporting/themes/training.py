"""Trainings step by step: their loss, what the model still answers meanwhile, and where they ended early."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sftlens.dag.targets import TARGETS, TRAINED, WATCHED, Chart, Target
from sftlens.reporting import frames, style
from sftlens.reporting.frames import ACCURACY

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from sftlens.dag.cells import Cell
    from sftlens.results.answers import Answers

LOSS, STEP = "Loss (nats per token)", "Step"
POINTS = 25
"""Of a loss curve: each is the mean of as many steps."""
PANELS = 12
KNOWN = "Known to the base, not trained on"
_KEYS = ["Model", "Strategy", "Trained on", "n"]
_ASKED = {
    "train": "Train, not trained on",
    "dev": "Dev",
    "test": "ID test",
    "testood": "OOD test",
    "": "Facts",
    "trained": "Trained on",
}


def losses(answers: Answers) -> pd.DataFrame:
    """Return the training loss along the steps: mean and SD over seeds, a row a point, in the order of the grid.

    A point is the mean over the supervised tokens of its steps; `Step` is the last of them.
    """
    found = [(_place(cell), made["losses"], made["supervised_tokens"])
             for cell, made in answers.trainings() if made.get("losses")]  # fmt: skip
    # A run that ended early has its points at the steps of the others.
    longest: dict[tuple[str, ...], int] = {}
    for place, values, _ in found:
        key = tuple(place.values())
        longest[key] = max(len(values), longest.get(key, 0))
    rows = []
    for place, values, tokens in found:
        steps = longest[tuple(place.values())]
        size = -(-steps // POINTS)
        for start in range(0, len(values), size):
            of, weights = values[start : start + size], tokens[start : start + size]
            loss = sum(a * b for a, b in zip(of, weights, strict=True)) / sum(weights)
            rows.append({**place, STEP: min(start + size, steps), "value": loss})
    return _spread(rows, [*_KEYS, STEP], LOSS)


def during(answers: Answers) -> pd.DataFrame:
    """Return the share of the facts that is answered at each look, in percent: mean and SD over seeds.

    `Asked` is a split, a split and a bucket, or KNOWN (what stop_when_lost looks at); `Facts` are those of one seed.
    """
    rows = []
    for cell, made in answers.trainings():
        for look in made.get("during", []):
            asked = _ASKED[look["split"]] + ("" if look["bucket"] == "all" else f", {look['bucket']}")
            place = {**_place(cell), "Asked": KNOWN if look["bucket"] == "known" else asked, STEP: look["step"]}
            rows.append({**place, "value": 100 * look["right"] / look["n"], "Facts": look["n"]})
    return _spread(rows, [*_KEYS, "Asked", STEP], ACCURACY, "Facts")


def trainings(answers: Answers) -> pd.DataFrame:
    """Return steps, first and last loss (of the last tenth of the steps) and where trainings ended early, by seeds."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for cell, made in answers.trainings():
        if values := made.get("losses"):
            tail, stopped = values[-max(1, len(values) // 10) :], made.get("stopped")
            ended = ""
            if stopped:
                ended = f"seed {cell.seed} after step {stopped['step']}: {stopped['points_lost']:.1f} points lost"
            numbers = {"Steps": float(len(values)), "First loss": values[0], "Last loss": sum(tail) / len(tail)}
            rows.append({**_place(cell), **numbers, "Ended": ended})
    table = pd.DataFrame(rows, columns=[*_KEYS, "Steps", "First loss", "Last loss", "Ended"])
    groups = table.groupby(_KEYS, sort=False)
    found = groups[["Steps", "First loss", "Last loss"]].mean()
    for name in ("First loss", "Last loss"):
        found.insert(list(found).index(name) + 1, f"{name} SD", groups[name].std())
    found.insert(0, "Seeds", groups.size())
    found["Ended early"] = groups["Ended"].agg(lambda texts: "; ".join(filter(None, texts)))
    return found.reset_index()


def _place(cell: Cell) -> dict[str, str]:
    return dict(zip(_KEYS, (cell.model, cell.strategy, cell.train_set, cell.scale), strict=True))


def _spread(rows: list[dict[str, Any]], keys: list[str], value: str, *more: str) -> pd.DataFrame:
    """Return mean and SD over seeds by `keys`, in the order of the rows; of `more` their first values."""
    import pandas as pd

    table = pd.DataFrame(rows, columns=[*keys, "value", *more])
    groups = table.groupby(keys, sort=False)
    found = groups["value"].agg(["mean", "std", "count"]).join(groups[list(more)].first())
    found = found.rename(columns={"mean": value, "std": f"{value} SD", "count": "Seeds"}).reset_index()
    steps = found.groupby([name for name in keys if name != STEP], sort=False).ngroup()
    found = found.assign(order=steps).sort_values(["order", STEP], kind="stable", ignore_index=True)
    return found.drop(columns="order").astype({STEP: "int64", "Seeds": "int64"})


def _longest(table: pd.DataFrame) -> pd.DataFrame:
    """Return of each model, strategy and training set the rows of the n with the most steps."""
    most = table.groupby(_KEYS[:3], sort=False)[STEP].transform("max")
    chosen = table[table[STEP] == most].drop_duplicates(_KEYS[:3])[_KEYS]
    return table.merge(chosen, on=_KEYS)


def _watched(table: pd.DataFrame) -> pd.DataFrame:
    """Return what the figure shows: the longest trainings, whole splits, and what the base knows best."""
    shown = [*_ASKED.values(), KNOWN, "ID test, D4", "OOD test, D4", "Facts, D4"]
    return _longest(table[table["Asked"].isin(shown)]).reset_index(drop=True)


def _draw(numbers: pd.DataFrame, notice: str, value: str, across: list[str]) -> Figure:
    """Return one panel for each of `across`, one line a training set, bands of one SD over seeds."""
    panels = [(", ".join(dict.fromkeys(map(str, key))), rows) for key, rows in numbers.groupby(across, sort=False)]
    names = list(dict.fromkeys(numbers["Trained on"]))
    note = "The longest training of each." + (f" {PANELS} of {len(panels)} panels." if len(panels) > PANELS else "")
    columns = max(1, min(3, len(panels)))
    figure, grid = style.page(
        -(-min(PANELS, len(panels)) // columns), columns, (3.4, 2.6), sharey=True,
        legend=[[style.key(name) for name in names]] if names else [],
        foot=[f"{note} {frames.seeds_note(numbers)}", notice],
    )  # fmt: skip
    for axes, (title, rows) in zip(grid.flat, panels, strict=False):
        axes.set_title(title, loc="left")
        axes.set(xlabel=STEP, ylabel=value)
        for name, line in rows.groupby("Trained on", sort=False):
            colour, marker = style.look(str(name))
            mean, sd = line[value].astype("float64"), line[f"{value} SD"].astype("float64").fillna(0)
            axes.fill_between(line[STEP], mean - sd, mean + sd, color=colour, alpha=0.16, linewidth=0)
            axes.plot(line[STEP], mean, color=colour, marker=marker, markersize=3.5, **style.EDGE)
        axes.label_outer()
    for axes in list(grid.flat)[len(panels) :] if panels else []:
        style.nothing(axes, "")
    return figure


TARGETS.add(Target(
    "losses", 16, TRAINED, "Training loss, step by step",
    f"Mean loss of the answer tokens (the strategy's own), before the update; each point over a {POINTS}th of the "
    "steps. Of each model, strategy and training set the training with the most steps; the CSV file has all.",
    losses, lambda numbers, notice: _draw(_longest(numbers), notice, LOSS, ["Model", "Strategy"]),
    page=_longest, chart=Chart(STEP, LOSS, "Trained on"),
))  # fmt: skip
TARGETS.add(Target(
    "during", 17, WATCHED, "What the model answers while it is trained",
    "Share of a fixed sample of facts that the model answers with an accepted answer (greedy, in the prompt of "
    "fine-tuning), before the first step, after the steps of evaluation.during and after the last one. No fact that is "
    "trained on is asked. A small sample: one fact of twenty is five points. The CSV file has every n and bucket.",
    during, lambda numbers, notice: _draw(_watched(numbers), notice, ACCURACY, ["Model", "Strategy", "Asked"]),
    page=_watched, chart=Chart(STEP, ACCURACY, "Trained on", "Asked"),
))  # fmt: skip
TARGETS.add(Target(
    "trainings", 18, TRAINED, "The trainings, and which ended early",
    "Optimiser steps, and the loss of the first step and of the last tenth of the steps (nats per token), means over "
    "seeds. Ended early: trainings that evaluation.stop_when_lost stopped, as the model had lost so many points on "
    "facts that the base knows; each counts as what it is, a shorter training.",
    trainings, folded=True,
))  # fmt: skip
