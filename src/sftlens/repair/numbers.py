"""The numbers of a repair as tables: rows of metrics, and the trade-off between knowledge and task."""

from typing import Any

import numpy as np
import pandas as pd

from sftlens.data.buckets import BUCKETS
from sftlens.diagnosis import effects
from sftlens.evaluation import accuracy
from sftlens.repair.models import BASE, FINETUNED, Candidate, ModelKey, label
from sftlens.repair.search import Repair
from sftlens.repair.user_files import CHOOSING, REPORTING
from sftlens.statistics import crossed, intervals
from sftlens.statistics.flips import flipped

ALL = "all"
HALVES = {ALL: (CHOOSING, REPORTING), REPORTING: (REPORTING,)}


def trade_off(repair: Repair) -> pd.DataFrame:
    """Return one row for each setting and half: means, paired differences from the fine-tuned model, the verdict.

    `facts`, `task` are shares; `gain` and `change` their differences with intervals, on the reporting half of 95 %, on
    the choosing half at the level at which those of all settings hold together; `reverted_d2` the share of the sum of
    squared changes reverted. The base is there too, as `criterion` base.
    """
    rows = []
    for half in repair.compared:
        for key, seen in repair.compared[half].items():
            criterion, ratio, region, reverted = key, np.nan, "", 1.0
            if isinstance(key, Candidate):
                criterion, ratio, region = key.criterion, key.ratio, key.region
                reverted = repair.reverted[key]["sum_d2"]
            facts, task = seen.facts, seen.task
            rows.append({
                "criterion": criterion, "ratio": ratio, "region": region, "half": half,
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
    templates = repair.inputs.sentences is not None
    for key, measured in repair.divergence.items():
        for half in [REPORTING] if templates or isinstance(key, Candidate) else [ALL, REPORTING]:
            kl = measured.merge(mastery.loc[inside[half], ["fact_id", "bucket"]], on="fact_id")
            for bucket, part in {"D4": kl[kl["bucket"] == "D4"], **({} if templates else {ALL: kl})}.items():
                if len(part):
                    add_mean(key, half, "kl", bucket, part["kl"].to_numpy())
    return rows


def side_by_side(repair: Repair) -> list[dict[str, Any]]:
    """Return what base, fine-tuned and repaired model have on the reporting half, one row a measure.

    Keys metric, unit (`%` or `nats`), n; under each reported model's label value, low and high (shares as percent); and
    `cost` (fine-tuned minus base) and `gain` (repaired minus fine-tuned), paired, with the same three. What was not
    measured is None. Mastery is that of the facts measured again; KL is the distance to the base, which has none.
    """
    mastery, tasks, chosen = repair.mastery, repair.inputs.tasks, repair.chosen
    inside = (mastery["half"] == REPORTING).to_numpy()
    ids = mastery.loc[inside, "fact_id"]
    values: dict[str, dict[ModelKey, pd.Series]] = {"facts answered": {}, "mastery": {}, "well-formed answers": {}}
    values |= {} if tasks is None else {"score of the task": {}}
    values["KL to the base"] = {}
    for key in reported(repair):
        facts, task = repair.answers[key]
        facts = facts.set_index("fact_id").loc[ids]
        values["facts answered"][key] = 100 * facts["first_line"].astype(float)
        values["well-formed answers"][key] = 100 * facts["well_formed"].astype(float)
        for name, tables, column in (
            ("mastery", repair.mastery_again, "mastery"),
            ("KL to the base", repair.divergence, "kl"),
        ):
            if key in tables:
                found = tables[key].set_index("fact_id")[column]
                values[name][key] = found[found.index.isin(set(ids))] * (100 if name == "mastery" else 1)
        if task is not None and tasks is not None:
            values["score of the task"][key] = 100 * task.loc[(tasks["half"] == REPORTING).to_numpy(), "score"]

    def mean(found: pd.Series, unit: str) -> dict[str, float | None]:
        """The mean with its interval, that of a share of right answers being Wilson's; within 0 to 100 %."""
        value, low, high = intervals.mean(found.tolist())
        if unit == "%" and found.isin((0, 100)).all():
            low, high = (100 * bound for bound in intervals.wilson(round(found.sum() / 100), len(found)))
        elif unit == "%" and low is not None and high is not None:
            low, high = max(0.0, low), min(100.0, high)
        return {"value": value, "low": low, "high": high}

    def difference(first: pd.Series, second: pd.Series, unit: str) -> dict[str, float | None]:
        """The paired difference of two models, second minus first."""
        if unit == "nats":
            return mean(second - first, unit)
        found = effects.paired(first / 100, second / 100)
        bounds = (None if bound != bound else 100 * bound for bound in (found.low, found.high))
        return dict(zip(("value", "low", "high"), (100 * found.value, *bounds), strict=True))

    rows: list[dict[str, Any]] = []
    for metric, models in values.items():
        unit = "nats" if metric == "KL to the base" else "%"
        sides = {label(key): mean(models[key], unit) if len(models.get(key, ())) else None for key in reported(repair)}
        pairs: dict[str, tuple[ModelKey | None, ModelKey]] = {"cost": (FINETUNED, BASE), "gain": (chosen, FINETUNED)}
        differences: dict[str, Any] = dict.fromkeys(pairs)
        for name, (second, first) in pairs.items():
            if second is not None and len(models.get(second, ())) and len(models.get(first, ())):
                differences[name] = difference(models[first], models[second], unit)
        if n := len(next(iter(models.values()), ())):
            rows.append({"metric": metric, "unit": unit, "n": n, **sides, **differences})
    return rows


def flips(repair: Repair) -> pd.DataFrame:
    """Return the facts of the reporting half on which base, fine-tuned and repaired model differ, best known first.

    Columns kind (`lost`: the base is right, the fine-tuned model wrong; `regained`: lost, and right again in the
    repaired model; `lost by the repair`: right in the fine-tuned model, wrong in the repaired one), question, answers,
    and the output of each reported model by its label.
    """
    table = repair.mastery[["question", "half", "mastery"]].assign(answers=repair.mastery["aliases"].map(" | ".join))
    right = {}
    for key in reported(repair):
        facts = repair.answers[key][0]
        table[label(key)], right[key] = facts["output"].to_numpy(), facts["first_line"].to_numpy(dtype=bool)
    lost, _ = flipped(right[BASE], right[FINETUNED])
    table["kind"] = np.where(lost, "lost", "")
    if repair.chosen:
        table.loc[lost & right[repair.chosen], "kind"] = "regained"
        table.loc[flipped(right[FINETUNED], right[repair.chosen])[0], "kind"] = "lost by the repair"
    found = table[(table["half"] == REPORTING) & (table["kind"] != "")]
    found = found.sort_values("mastery", ascending=False, kind="stable")
    return found[["kind", "question", "answers", *map(label, reported(repair))]]


def sizes(repair: Repair) -> dict[str, dict[str, int]]:
    """Return the number of examples in each half: facts, and task if there is one."""
    tables = {"facts": repair.inputs.facts, "task": repair.inputs.tasks}
    return {
        name: {half: int((table["half"] == half).sum()) for half in (CHOOSING, REPORTING)}
        for name, table in tables.items()
        if table is not None
    }
