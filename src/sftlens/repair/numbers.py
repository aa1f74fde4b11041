"""The numbers of a repair as tables: rows of metrics, and the trade-off between knowledge and task."""

from typing import Any

import numpy as np
import pandas as pd

from sftlens.data.buckets import BUCKETS
from sftlens.evaluation import accuracy
from sftlens.repair.choice_rule import Comparison
from sftlens.repair.models import BASE, FINETUNED, Candidate, ModelKey, label
from sftlens.repair.search import Repair
from sftlens.repair.user_files import CHOOSING, REPORTING
from sftlens.statistics import crossed, intervals

ALL = "all"
HALVES = {ALL: (CHOOSING, REPORTING), REPORTING: (REPORTING,)}


def trade_off(repair: Repair) -> pd.DataFrame:
    """Return one row for each setting and half: means, paired differences from the fine-tuned model, the verdict.

    `facts`, `task` are shares; `gain` and `change` their differences with 95 % intervals; `reverted_d2` the share of
    the sum of squared changes reverted. The base is there too, as `criterion` base.
    """
    rows = []
    for half in repair.compared:
        for key, seen in repair.compared[half].items():
            criterion, ratio, reverted = key, np.nan, 1.0
            if isinstance(key, Candidate):
                criterion, ratio, reverted = key.criterion, key.ratio, repair.reverted[key]["sum_d2"]
            facts, task = seen.facts, seen.task
            rows.append({
                "criterion": criterion, "ratio": ratio, "half": half,
                "facts": facts.mean, "gain": facts.value, "gain_low": facts.low, "gain_high": facts.high,
                "facts_n": facts.n,
                "task": task.mean, "change": task.value, "change_low": task.low, "change_high": task.high,
                "task_n": task.n,
                "reverted_d2": reverted,
                "gains": seen.gains(), "keeps_task": seen.keeps_task(repair.inputs.settings.tolerance),
                "chosen": key == repair.chosen,
            })  # fmt: skip
    return pd.DataFrame(rows)


def reported(repair: Repair) -> list[ModelKey]:
    """Return the models that are described in full."""
    return [BASE, FINETUNED, *([repair.chosen] if repair.chosen else [])]


def metrics(repair: Repair) -> list[dict[str, Any]]:
    """Return all other numbers as rows of metrics: keys model, half, bucket, metric, value, n, low, high.

    Shares per mastery bucket of the base, over all facts (`all`) and as macro: `first_line`, the reading that counts,
    `contains` (anywhere in the output), `well_formed`. Paired with the fine-tuned model: `gain` and `task_change` of
    the chosen setting, `cost` of fine-tuning against the base. `mastery` of the base, `reprobed_mastery`, `kl`.
    """
    rows: list[dict[str, Any]] = []

    def add(key: ModelKey, half: str, metric: str, bucket: str, value: float, n: int, *bounds: float | None) -> None:
        low, high = bounds or (None, None)
        place = {"model": label(key), "half": half, "bucket": bucket, "metric": metric}
        rows.append({**place, "value": value, "n": n, "low": low, "high": high})

    def add_mean(key: ModelKey, half: str, metric: str, bucket: str, values: np.ndarray) -> None:
        value, low, high = intervals.mean(values.tolist())
        add(key, half, metric, bucket, value, len(values), low, high)

    mastery, tasks = repair.mastery, repair.inputs.tasks
    inside = {half: mastery["half"].isin(members).to_numpy() for half, members in HALVES.items()}

    # Shares of the facts. The setting was chosen on the choosing half: only the reporting half speaks of it.
    for half in HALVES:
        for key in [BASE, FINETUNED] if half == ALL else reported(repair):
            facts = repair.answers[key][0][inside[half]]
            for metric in ("first_line", "contains", "well_formed"):
                for row in accuracy.counted("", metric, facts[metric], mastery.loc[inside[half], "bucket"]):
                    counted = [row[name] for name in ("bucket", "value", "n", "low", "high")]
                    add(key, half, metric, *counted)

    # Scores of the task.
    if tasks is not None:
        of_half = (tasks["half"] == REPORTING).to_numpy()
        for key in reported(repair):
            for metric in ("score", "well_formed"):
                table = repair.answers[key][1]
                assert table is not None
                value, low, high = intervals.mean(table.loc[of_half, metric].astype(float).tolist())
                bounds = intervals.within_unit((low, high))
                add(key, REPORTING, f"task_{metric}", ALL, value, int(of_half.sum()), *bounds)

    # Paired differences: what fine-tuning cost on all facts, and what the chosen setting gives.
    pairs: list[tuple[ModelKey, ModelKey, str, str]] = [(FINETUNED, BASE, ALL, "cost")]
    pairs += [(repair.chosen, FINETUNED, REPORTING, "gain")] if repair.chosen else []
    for key, against, half, metric in pairs:
        values = [repair.answers[k][0]["first_line"].to_numpy(dtype=float)[inside[half]] for k in (key, against)]
        buckets = pd.Categorical(mastery.loc[inside[half], "bucket"], categories=list(BUCKETS))
        add_mean(key, half, metric, ALL, difference := values[0] - values[1])
        macro = crossed.accuracy(difference, buckets.codes.astype(np.int64))
        if np.isfinite([macro.value, macro.low, macro.high]).all():
            add(key, half, metric, "macro", macro.value, len(difference), macro.low, macro.high)
    if repair.chosen:
        change = repair.compared[REPORTING][repair.chosen].task
        add(repair.chosen, REPORTING, "task_change", ALL, change.value, change.n, change.low, change.high)

    # Mastery of the base, and mastery measured again.
    for bucket in BUCKETS:
        number = int((mastery["bucket"] == bucket).sum())
        add(BASE, ALL, "facts", bucket, float(number), number)
    add_mean(BASE, ALL, "mastery", ALL, mastery["mastery"].to_numpy())
    reporting = set(mastery.loc[mastery["half"] == REPORTING, "fact_id"])
    for key, table in repair.mastery_again.items():
        for half, part in ((ALL, table), (REPORTING, table[table["fact_id"].isin(reporting)])):
            if len(part) and (half == REPORTING or not isinstance(key, Candidate)):
                add_mean(key, half, "reprobed_mastery", ALL, part["mastery"].to_numpy())

    # With templates the divergence is measured on facts of D4 in the reporting half alone.
    kl = repair.divergence.merge(mastery[["fact_id", "bucket"]], on="fact_id")
    templates = repair.inputs.sentences is not None
    for bucket, part in {"D4": kl[kl["bucket"] == "D4"], **({} if templates else {ALL: kl})}.items():
        if len(part):
            add_mean(FINETUNED, REPORTING if templates else ALL, "kl", bucket, part["kl"].to_numpy())
    return rows


def points(comparison: Comparison) -> dict[str, str]:
    """Return the differences of a comparison in percentage points, with their intervals, as text."""
    parts = {"facts": comparison.facts, "task": comparison.task}
    return {
        name: f"{100 * d.value:+.1f} points (95 % interval {100 * d.low:+.1f} to {100 * d.high:+.1f})"
        for name, d in parts.items()
    }


def sizes(repair: Repair) -> dict[str, dict[str, int]]:
    """Return the number of examples in each half: facts, and task if there is one."""
    tables = {"facts": repair.inputs.facts, "task": repair.inputs.tasks}
    return {
        name: {half: int((table["half"] == half).sum()) for half in (CHOOSING, REPORTING)}
        for name, table in tables.items()
        if table is not None
    }
