"""The files that a repair leaves: page, numbers, figure, answers, and the repaired model."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from sftlens import files
from sftlens.errors import ConfigError
from sftlens.repair.candidates import Methods
from sftlens.repair.inputs.halves import CHOOSING, REPORTING
from sftlens.repair.report import figure, numbers, page, wording
from sftlens.repair.search import Found
from sftlens.reporting import style
from sftlens.restoration.export import check_out, save_restored
from sftlens.runtime import provenance

REPORT, PAGE, TABLE, FIGURE, ANSWERS, MODEL = (
    "report.json", "report.html", "tradeoff.csv", "tradeoff.png", "answers.csv", "model"
)  # fmt: skip
OUTPUTS = (REPORT, PAGE, TABLE, FIGURE, ANSWERS, MODEL)
STAGE = "repair"


def check(out: Path, inputs: list[Path]) -> None:
    """Raise ConfigError if writing to the folder `out` would touch an input, or files that are not ours."""
    check_out(out, inputs)
    there = [path for path in out.iterdir() if not path.name.startswith(".")] if out.is_dir() else []
    if there and not _ours(out):
        raise ConfigError(f"--out {out}: holds files that were not made here; choose a new or empty folder")


def clear_leavings(out: Path) -> None:
    """Delete the hidden work folders in `out` of runs on this machine that were killed."""
    for folder in out.glob(f".{STAGE}.work-*"):
        try:
            os.kill(int(folder.name.rpartition("-")[2]), 0)
        except ProcessLookupError:
            files.remove(folder)


def _ours(out: Path) -> bool:
    report = out / REPORT
    return report.is_file() and files.read_json(report).get("stage") == STAGE


def write(
    folder: Path,
    found: Found,
    methods: Methods,
    *,
    inputs: Mapping[str, str],
    settings: Mapping[str, Any],
) -> None:
    """Write OUTPUTS into an existing folder.

    MODEL is a Hugging Face folder with its card; where no setting was chosen it holds nothing but a README.md that says
    so.
    """
    rows, table = numbers.metrics(found), numbers.trade_off(found)
    table.to_csv(folder / TABLE, index=False, float_format="%.6g")
    tolerance = found.asked.settings.tolerance
    drawn = figure.draw(table, REPORTING, tolerance, wording.task_name(found))
    style.save(drawn, (folder / FIGURE).with_suffix(""), formats=["png"])
    described = describe(found)
    page.write(folder / PAGE, found, rows, folder / FIGURE, described)
    _answers(found).to_csv(folder / ANSWERS, index=False)
    card = wording.model_card(found, methods, inputs)
    if found.chosen:
        save_restored(methods.of(found.chosen), folder / MODEL, card)
    else:
        files.write_text(folder / MODEL / "README.md", card)
    chosen = found.chosen
    summary = provenance.summary(
        STAGE,
        settings=settings,
        inputs=inputs,
        metrics=rows,
        outcome={
            "written": chosen is not None,
            "criterion": chosen.criterion if chosen else None,
            "ratio": chosen.ratio if chosen else None,
            "confirmed": found.confirmed,
            "sentence": wording.outcome(found),
        },
        rule=wording.rule(found),
        measured=described,
        examples=_sizes(found),
        trade_off=table.astype(object).where(table.notna(), None).to_dict(orient="records"),
    )
    files.write_json(folder / REPORT, summary)


def describe(found: Found) -> dict[str, str]:
    """Return how a repair was measured: what -> words."""
    asked = found.asked
    templates = asked.sentences is not None
    described = {
        "questions were asked with": wording.prompt(asked.prompting),
        "right answer": "the greedy answer contains an accepted one, as it stands (case-sensitive)",
        "well-formed": f"the answer ends within {asked.settings.max_new_tokens} tokens",
        "mastery": wording.mastery(templates, asked.settings.few_shot),
        "KL": wording.BEST_TEMPLATE if templates else wording.SAME_PROMPT,
        "halves": "by a hash of each question and each example of the task",
        "region": asked.settings.region,
    }
    if asked.tasks is not None:
        described["task"] = f"{asked.settings.score}, greedy, at most {asked.settings.task_max_new_tokens} tokens"
    return described


def _sizes(found: Found) -> dict[str, dict[str, int]]:
    tables = {"facts": found.asked.facts, "task": found.asked.tasks}
    return {
        name: {half: int((table["half"] == half).sum()) for half in (CHOOSING, REPORTING)}
        for name, table in tables.items()
        if table is not None
    }


def _answers(found: Found) -> pd.DataFrame:
    """Return every question with what the reported models answer."""
    table = found.known[["question", "half", "bucket", "mastery"]].copy()
    table.insert(1, "answers", [" | ".join(accepted) for accepted in found.known["aliases"]])
    for who in numbers.reported(found):
        facts = found.answers[who][0]
        table[f"{numbers.label(who)}: answer"] = facts["output"].tolist()
        table[f"{numbers.label(who)}: right"] = facts["contains"].tolist()
    return table
