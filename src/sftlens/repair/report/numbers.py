"""The numbers of a repair as tables: rows of metrics, and the trade-off between knowledge and task."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from sftlens.data.buckets import BUCKETS
from sftlens.evaluation import accuracy
from sftlens.repair.candidates import Candidate
from sftlens.repair.choice_rule import Comparison
from sftlens.repair.inputs.halves import CHOOSING, REPORTING
from sftlens.repair.measure.models import BASE, FINETUNED, Who
from sftlens.repair.search import Found
from sftlens.statistics import crossed, intervals

ALL = "all"
HALVES = {ALL: (CHOOSING, REPORTING), REPORTING: (REPORTING,)}


def label(who: Who) -> str:
    """Return what a model is called in tables."""
    return who.name if isinstance(who, Candidate) else who


def trade_off(found: Found) -> pd.DataFrame:
    """Return one row for each setting and half: means, paired differences from the fine-tuned model, and the verdict.

    `facts`, `task` are shares; `gain` and `change` their differences with 95 % intervals; `reverted_d2` the share of
    the sum of squared changes reverted. The base is there too, as `criterion` base.
    """
    return pd.DataFrame([_setting(found, half, who) for half in found.compared for who in found.compared[half]])


def _setting(found: Found, half: str, who: Who) -> dict[str, Any]:
    seen, settings = found.compared[half][who], found.asked.settings
    criterion, ratio, reverted = who, np.nan, 1.0
    if isinstance(who, Candidate):
        criterion, ratio, reverted = who.criterion, who.ratio, found.reverted[who]["sum_d2"]
    return {
        "criterion": criterion, "ratio": ratio, "half": half,
        "facts": seen.facts.mean, "gain": seen.facts.value, "gain_low": seen.facts.low, "gain_high": seen.facts.high,
        "facts_n": seen.facts.n,
        "task": seen.task.mean, "change": seen.task.value, "change_low": seen.task.low, "change_high": seen.task.high,
        "task_n": seen.task.n,
        "reverted_d2": reverted,
        "gains": seen.gains(), "keeps_task": seen.keeps_task(settings.tolerance), "chosen": who == found.chosen,
    }  # fmt: skip


def metrics(found: Found) -> list[dict[str, Any]]:
    """Return all other numbers as rows of metrics: keys model, half, bucket, metric, value, n, low, high.

    Shares per mastery bucket of the base, over all facts (`all`) and as macro: `contains`, `well_formed`. Paired with
    the fine-tuned model: `gain` and `task_change` of the chosen setting, `cost` of fine-tuning against the base.
    `mastery` of the base, `reprobed_mastery`, `kl`.
    """
    rows = [row for half in HALVES for row in _accuracies(found, half)]
    rows += [row for who in found.answers for row in _task(found, who)]
    rows += list(_paired(found))
    rows += list(_mastery(found))
    return rows + list(_divergence(found))


def reported(found: Found) -> list[Who]:
    """Return the models that are described in full."""
    return [BASE, FINETUNED, *([found.chosen] if found.chosen else [])]


def _inside(found: Found, half: str) -> np.ndarray:
    return found.known["half"].isin(HALVES[half]).to_numpy()


def _accuracies(found: Found, half: str) -> Iterator[dict[str, Any]]:
    inside = _inside(found, half)
    # The chosen setting was chosen on the other half: only the reporting half speaks of it.
    for who in [BASE, FINETUNED] if half == ALL else reported(found):
        facts = found.answers[who][0][inside]
        for metric in ("contains", "well_formed"):
            for row in accuracy.counted("", metric, facts[metric], found.known.loc[inside, "bucket"]):
                yield _row(who, half, **{k: v for k, v in row.items() if k != "split"})


def _task(found: Found, who: Who) -> Iterator[dict[str, Any]]:
    table = found.answers[who][1]
    if table is None or who not in reported(found):
        return
    assert found.asked.tasks is not None
    inside = (found.asked.tasks["half"] == REPORTING).to_numpy()
    for metric in ("score", "well_formed"):
        value, low, high = intervals.mean(table.loc[inside, metric].astype(float).tolist())
        low, high = intervals.within_unit((low, high))
        yield _row(who, REPORTING, f"task_{metric}", ALL, value, int(inside.sum()), low, high)


def _paired(found: Found) -> Iterator[dict[str, Any]]:
    """Yield paired differences: what fine-tuning cost on all facts, and what the chosen setting gives."""
    pairs: list[tuple[Who, Who, str, str]] = [(FINETUNED, BASE, ALL, "cost")]
    pairs += [(found.chosen, FINETUNED, REPORTING, "gain")] if found.chosen else []
    for who, against, half, metric in pairs:
        inside = _inside(found, half)
        values = [found.answers[x][0]["contains"].to_numpy(dtype=float)[inside] for x in (who, against)]
        d = values[0] - values[1]
        codes = pd.Categorical(found.known.loc[inside, "bucket"], categories=list(BUCKETS)).codes.astype(np.int64)
        yield _row(who, half, metric, ALL, *_mean(d))
        macro = crossed.accuracy(d, codes)
        if np.isfinite([macro.value, macro.low, macro.high]).all():
            yield _row(who, half, metric, "macro", macro.value, len(d), macro.low, macro.high)
    if found.chosen:
        change = found.compared[REPORTING][found.chosen].task
        yield _row(found.chosen, REPORTING, "task_change", ALL, change.value, change.n, change.low, change.high)


def _mastery(found: Found) -> Iterator[dict[str, Any]]:
    for bucket in BUCKETS:
        number = int((found.known["bucket"] == bucket).sum())
        yield _row(BASE, ALL, "facts", bucket, float(number), number, None, None)
    yield _row(BASE, ALL, "mastery", ALL, *_mean(found.known["mastery"].to_numpy()))
    reporting = set(found.known.loc[found.known["half"] == REPORTING, "fact_id"])
    for who, table in found.again.items():
        own = table[table["fact_id"].isin(reporting)]
        for half, part in ((ALL, table), (REPORTING, own)):
            if len(part) and (half == REPORTING or not isinstance(who, Candidate)):
                yield _row(who, half, "reprobed_mastery", ALL, *_mean(part["mastery"].to_numpy()))


def _divergence(found: Found) -> Iterator[dict[str, Any]]:
    table = found.divergence.merge(found.known[["fact_id", "bucket"]], on="fact_id")
    templates = found.asked.sentences is not None  # then it is measured on facts of D4 in the reporting half alone
    groups = {"D4": table[table["bucket"] == "D4"], **({} if templates else {ALL: table})}
    for bucket, part in groups.items():
        if len(part):
            yield _row(FINETUNED, REPORTING if templates else ALL, "kl", bucket, *_mean(part["kl"].to_numpy()))


def _mean(values: np.ndarray) -> tuple[float, int, float | None, float | None]:
    value, low, high = intervals.mean(values.tolist())
    return value, len(values), low, high


def _row(
    who: Who, half: str, metric: str, bucket: str, value: float, n: int, low: float | None, high: float | None
) -> dict[str, Any]:
    place = {"model": label(who), "half": half, "bucket": bucket, "metric": metric}
    return {**place, "value": value, "n": n, "low": low, "high": high}


def points(comparison: Comparison) -> dict[str, str]:
    """Return the differences of a comparison in percentage points, with their intervals, as text."""
    parts = {"facts": comparison.facts, "task": comparison.task}
    return {
        name: f"{100 * d.value:+.1f} points (95 % interval {100 * d.low:+.1f} to {100 * d.high:+.1f})"
        for name, d in parts.items()
    }
