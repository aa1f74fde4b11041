"""The files that a repair leaves: page, numbers, figure, answers, and the repaired model."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sftlens import files, gate
from sftlens.errors import ConfigError
from sftlens.models.delta import manifest, packing
from sftlens.repair import numbers, page, wording
from sftlens.repair.models import BASE, RepairModels, label
from sftlens.repair.search import Repair
from sftlens.repair.user_files import REPORTING
from sftlens.reporting import style
from sftlens.restoration import cards
from sftlens.restoration.export import check_out, save_restored
from sftlens.runtime import provenance

REPORT, PAGE, TABLE, FIGURE, ANSWERS, MODEL = (
    "report.json", "report.html", "tradeoff.csv", "tradeoff.png", "answers.csv", "model"
)  # fmt: skip
OUTPUTS = (REPORT, PAGE, TABLE, FIGURE, ANSWERS, MODEL)
STAGE = "repair"
DASHES = ("-", "--", ":", "-.")
"""Of the lines, by region."""
LABELS = ((6, 5), (6, -10), (-6, 5), (-6, -10))
"""Where a point's ratio stands, by criterion and region, so that those of points that coincide do not."""
NARROWEST = 2.0
"""Points that the figure's horizontal axis reaches to either side at least."""


def check(out: Path, inputs: list[Path]) -> None:
    """Raise ConfigError if writing to the folder `out` would touch an input, or files that are not ours."""
    check_out(out, inputs)
    there = [path for path in out.iterdir() if not path.name.startswith(".")] if out.is_dir() else []
    report = out / REPORT
    if there and not (report.is_file() and files.read_json(report, dict[str, Any]).get("stage") == STAGE):
        raise ConfigError(f"--out {out}: holds files that were not made here; choose a new or empty folder")


def write(
    folder: Path,
    repair: Repair,
    models: RepairModels,
    *,
    inputs: Mapping[str, str],
    settings: Mapping[str, Any],
    names: Mapping[str, str],
    final: Path,
) -> None:
    """Write OUTPUTS into the existing `folder`; `final` is where they will lie.

    MODEL is the repaired model with its card, in the form that the settings ask for; where no setting is recommended it
    holds nothing but a README.md that says so. `inputs` holds the content hash of each input, `settings` all that the
    result depends on, `names` what the page and the card say of the models and of this run, what -> words.
    """
    rows, table, written = numbers.metrics(repair), numbers.trade_off(repair), repair.written
    files.write_text(folder / TABLE, gate.csv_text(table, "%.6g"))
    drawn = draw(table, REPORTING, repair.inputs.settings.tolerance, wording.task_name(repair))
    style.save(drawn, (folder / FIGURE).with_suffix(""), formats=["png"])
    measured, stored = wording.measured(repair), wording.stored(repair, models)
    page.write(folder / PAGE, repair, rows, folder / FIGURE, {**measured, **names}, stored)

    # Every question with what the reported models answer.
    answers = repair.mastery[["question", "half", "bucket", "mastery"]].copy()
    answers.insert(1, "answers", [" | ".join(accepted) for accepted in repair.mastery["aliases"]])
    for key in numbers.reported(repair):
        facts = repair.answers[key][0]
        answers[f"{label(key)}: answer"] = facts["output"].tolist()
        answers[f"{label(key)}: right"] = facts["first_line"].tolist()
        answers[f"{label(key)}: right anywhere"] = facts["contains"].tolist()
    files.write_text(folder / ANSWERS, gate.csv_text(answers))

    _write_model(folder / MODEL, repair, models, wording.model_card(repair, models, inputs, names), final / MODEL)
    outcome = {
        "written": written is not None,
        **{name: getattr(written, name, None) for name in ("criterion", "ratio", "region")},
        "as": repair.inputs.settings.save_as if written else None,
        "stored": stored or None,
        "confirmed": repair.confirmed,
        "base_as_good": repair.base_as_good,
        "sentence": wording.outcome(repair),
    }
    details: dict[str, Any] = {"outcome": outcome, "rule": wording.rule(repair), "measured": measured}
    details |= {"examples": numbers.sizes(repair), "side_by_side": numbers.side_by_side(repair)}
    details["diagnosis"] = {"sentence": wording.cost(repair.diagnosis), **repair.diagnosis.metrics()}
    details |= {"trade_off": table.astype(object).where(table.notna(), None).to_dict(orient="records")}
    summary = provenance.summary(STAGE, settings=settings, inputs=inputs, metrics=rows, **details)
    files.write_json(folder / REPORT, summary)


def _write_model(folder: Path, repair: Repair, models: RepairModels, card: str, final: Path) -> None:
    """Write the repaired model into the new folder; `final` is where it will lie."""
    written, settings = repair.written, repair.inputs.settings
    if not written:
        files.write_text(folder / "README.md", card)
    elif settings.save_as == "model":
        save_restored(models.restored(written), folder, card)
    elif settings.save_as == "delta":
        whole = folder.with_name(".whole")
        save_restored(models.restored(written), whole, card)
        packing.pack(models.given[BASE], whole, folder)
        manifest.point(folder, models.given[BASE], final)
        files.remove(whole)
    else:
        base = cards.name_of(models.given[BASE])
        models.adapter(replace(written, rank=settings.rank)).save(folder, base, card)


def draw(trade_off: pd.DataFrame, half: str, tolerance: float, task: str) -> Figure:
    """Return the figure of one half of `numbers.trade_off`: a point for each setting, the fine-tuned in the origin.

    Intervals are of differences paired with the fine-tuned model. `tolerance` is what the task's score may cost, a
    share; `task` says what the horizontal axis measures.
    """
    table = trade_off[(trade_off["half"] == half) & (trade_off["criterion"] != BASE)]
    with style.applied():
        figure = Figure(figsize=(6.4, 4.6), layout="constrained")
        axes = figure.add_subplot()
        axes.grid(visible=False)
        axes.axhline(0, color="#bbbbbb", linewidth=0.8)
        axes.axvline(0, color="#bbbbbb", linewidth=0.8)
        axes.plot(0, 0, "*", color="black", markersize=13, zorder=6, label="fine-tuned model, left alone")
        criteria, regions = (list(dict.fromkeys(table[name])) for name in ("criterion", "region"))
        for (criterion, region), part in table.groupby(["criterion", "region"], sort=False):
            name = f"{criterion}, {region}" if len(regions) > 1 else str(criterion)
            dash = DASHES[regions.index(region) % len(DASHES)]
            label_at = LABELS[(criteria.index(criterion) + regions.index(region)) % len(LABELS)]
            _line(axes, str(criterion), name, part.sort_values("ratio"), dash, label_at)
        for _, row in table[table["chosen"]].iterrows():
            axes.plot(100 * row["change"], 100 * row["gain"], "o", markersize=17, markerfacecolor="none",
                      markeredgecolor=style.CHOSEN, markeredgewidth=1.6, zorder=7, label="chosen")  # fmt: skip
        # Shaded: where the task's score itself costs more than the tolerance, as far as that is in view.
        left, right = axes.get_xlim()
        left, right, limit = min(left, -NARROWEST), max(right, NARROWEST), -100 * tolerance
        if left < limit:
            axes.axvspan(left, min(limit, right), color=style.FORBIDDEN, alpha=0.12, linewidth=0,
                         label="beyond the tolerance")  # fmt: skip
        axes.set_xlim(left, right)
        axes.set_xlabel(f"Change of {task} (points)")
        axes.set_ylabel("Gain in facts answered (points)")
        axes.set_title(f"{half} half", loc="left")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def _line(axes: Axes, criterion: str, name: str, part: pd.DataFrame, dash: str, label_at: tuple[int, int]) -> None:
    colour, marker = style.look(criterion)
    x, y = 100 * part["change"], 100 * part["gain"]
    errors: dict[str, Any] = {
        name: [100 * (part[value] - part[f"{value}_low"]), 100 * (part[f"{value}_high"] - part[value])]
        for name, value in (("xerr", "change"), ("yerr", "gain"))
    }
    axes.errorbar(x, y, **errors, fmt="none", ecolor=colour, elinewidth=0.9, alpha=0.3, zorder=3)
    axes.plot([0, *x], [0, *y], marker=marker, linestyle=dash, color=colour, linewidth=1, markeredgecolor="white",
              markersize=7, markevery=range(1, len(part) + 1), zorder=5, label=name)  # fmt: skip
    for _, row in part.iterrows():
        place, text = (100 * row["change"], 100 * row["gain"]), f"{row['ratio']:g} %"
        look: dict[str, Any] = {"textcoords": "offset points", "fontsize": 7, "color": style.ink(colour)}
        axes.annotate(text, place, label_at, ha="left" if label_at[0] > 0 else "right", **look)
