"""Where the numbers of a page come from, as its tables: every cell, the models, and what it all took."""

from collections.abc import Sequence

import pandas as pd

from sftlens.reporting import frames
from sftlens.reporting.frames import RATIO
from sftlens.reporting.html import Cell, Table

AXES = {"Model": "model", "Strategy": "strategy", "Trained on": "train_set", "n": "scale", "Seed": "seed",
        "Criterion": "criterion", "Region": "region"}  # fmt: skip
"""Heads of `cells` that tables of results have too, so that a row there leads to its cells here."""


def cells(runs: pd.DataFrame) -> Table:
    """Return a table of `results.runs.runs`, a row each."""
    named = frames.named(runs.assign(split=""))
    seed = named["seed"].astype(str).where(named["scale"] != "", "")
    where = [named["model"], named["strategy"], named["Trained on"], named["scale"], seed,
             named["criterion"], named["region"], [f"{k:g}" if k == k else "" for k in named["ratio"].astype(float)],
             named["stage"].str.replace("_", " ")]  # fmt: skip
    costs = (named[name].astype("float64") for name in ("seconds", "gigabytes"))  # NaN where a summary says nothing
    took = [named["version"].astype(str), named["finished"], *costs, named["gpus"]]
    rows = []
    for axes, numbers, file, inputs in zip(
        zip(*where, strict=True), zip(*took, strict=True), named["file"], named["inputs"], strict=True
    ):
        version, finished, seconds, gigabytes, gpus = numbers
        cost = [f"{seconds:.1f}" if seconds == seconds else "–", f"{gigabytes:.2f}" if gigabytes == gigabytes else "–"]
        shown = [*map(Cell, axes), *(Cell(text, "", "number") for text in (*cost, str(gpus), version))]
        rows.append(("", [*shown, Cell(finished), Cell(file, "", "code"), Cell(inputs, "", "code")]))
    heads = [*map(Cell, [*AXES, RATIO, "Stage"])]
    heads += [Cell(name, "", "number") for name in ("Wall time (s)", "Peak memory (GB)", "GPUs", "Version")]
    return Table([*heads, Cell("Finished (UTC)"), Cell("File", "", "code"), Cell("Inputs (sha256)", "", "code")], rows)


def cost(runs: pd.DataFrame) -> Table:
    """Return what the stages took: jobs, wall and GPU time (hours, or minutes below one), memory; the total last."""
    seconds = runs["seconds"].astype("float64").fillna(0)
    found = runs.assign(seconds=seconds, gpu=seconds * runs["gpus"].astype("float64"))
    unit, factor = ("h", 3600) if seconds.sum() >= 3600 else ("min", 60)
    groups = [(str(stage).replace("_", " "), rows) for stage, rows in found.groupby("stage", sort=False)]
    body = []
    for name, rows in [*groups, ("all", found)]:
        memory = rows["gigabytes"].astype("float64").max()
        numbers = [f"{len(rows):,}", f"{rows['seconds'].sum() / factor:,.1f}", f"{rows['gpu'].sum() / factor:,.1f}"]
        numbers += [f"{memory:.2f}" if memory == memory else "–"]
        body.append(("chosen" if name == "all" else "", [Cell(name), *(Cell(text, "", "number") for text in numbers)]))
    heads = ("Jobs", f"Wall time ({unit})", f"GPU time ({unit})", "Peak memory (GB)")
    return Table([Cell("Stage"), *(Cell(name, "", "number") for name in heads)], body)


def made_with(runs: pd.DataFrame) -> str:
    """Return when, on what and with which packages the results were made, in words; "" where nothing says so."""
    dates = sorted(text for text in runs["finished"] if text)
    when = f"Measured from {dates[0][:10]} to {dates[-1][:10]}. " if dates else ""
    machines = ", ".join(dict.fromkeys(text for text in runs["machine"] if text))
    packages = "; or ".join(dict.fromkeys(text for text in runs["packages"] if text))
    return f"{when}Machines: {machines}. Packages: {packages}." if machines or packages else when


def models(found: Sequence[dict[str, str]]) -> Table:
    """Return a table of `results.runs.models`."""
    rows = [("", [Cell(m["model"]), Cell(m["source"], "", "any"), Cell(m["hashes"], "", "any code")]) for m in found]
    return Table([Cell("Model"), Cell("Where it is from", "", "any"), Cell("Files (sha256)", "", "any code")], rows)
