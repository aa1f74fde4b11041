"""The evaluation suite of one model: answers, accuracy, and mastery probed again (format and knowledge can part)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sftlens import files
from sftlens.config.stages.evaluation import EvaluationSettings
from sftlens.data import tables
from sftlens.data.buckets import BUCKETS
from sftlens.evaluation import accuracy, answering
from sftlens.evaluation import examples as task_examples
from sftlens.evaluation.examples import TaskExamples
from sftlens.mastery import mastery_table
from sftlens.mastery.completions import Probe
from sftlens.models.loading import computing
from sftlens.statistics import intervals
from sftlens.tasks import TASKS

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ANSWERS = "answers.parquet"
REPROBED = ["fact_id", "bucket", "base_mastery", "hits", "trials", "mastery"]


def subset(facts: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return a fixed sample of the test facts: the same for every model, cell and study with these facts."""
    return tables.fixed_sample(facts[facts["split"] == "test"], count)


def reprobe(probe: Probe, facts: pd.DataFrame, count: int) -> pd.DataFrame:
    """Probe a sample of the test facts as the base model was probed, with new samples.

    The base model too is sampled anew at n = 0: its buckets were chosen on the first samples, so that a second look
    regresses to the mean, and without that at n = 0 every fine-tuned model would seem to have moved by as much.

    `probe` is of the model after fine-tuning or restoration, with the sentences and settings of the base model's probe;
    `facts` is the base model's mastery table. Returns REPROBED: bucket and base_mastery are those of the base model,
    the others the model's own.
    """
    chosen = subset(facts, count)
    table = mastery_table.probe(replace(probe, of=f"again {probe.of}"), chosen)
    table[["bucket", "base_mastery"]] = chosen[["bucket", "mastery"]]
    return table[REPROBED]


def reprobed_metrics(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the mean mastery per bucket and over all facts, now and of the base model, with 95 % intervals."""
    groups = [(name, table[table["bucket"] == name]) for name in BUCKETS] + [("all", table)]
    rows = []
    for name, part in groups:
        for metric, column in (("reprobed_mastery", "mastery"), ("base_mastery", "base_mastery")):
            if len(part):
                rows.append(intervals.mean_row(part[column].tolist(), split="test", bucket=name, metric=metric))
    return rows


def batching_floor(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    facts: pd.DataFrame,
    answers: pd.DataFrame,
    settings: EvaluationSettings,
    how: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Return the shares of answers and of judgements that change when a question is answered alone, with intervals.

    In half precision a sum depends on what is computed beside it, and near-ties between two tokens go either way: a
    difference between two models below this floor is one of the instrument. In single precision there is none.
    """
    if not settings.rebatched or computing.type_of(model).itemsize > 2:
        return []
    before = tables.fixed_sample(answers[answers["split"] == "test"], settings.rebatched).set_index("fact_id")
    chosen = facts[facts["fact_id"].isin(before.index)].drop_duplicates("fact_id").assign(split="test")
    alone = settings.model_copy(update={"batch_tokens": 1})
    again = answering.answer(model, tokenizer, chosen, alone, **(how or {})).set_index("fact_id")
    rows = []
    for column in [name for name in ("output", "contains") if name in again]:
        differ = again[column] != before[column].loc[again.index]
        low, high = intervals.wilson(int(differ.sum()), len(differ))
        place = {"split": "test", "bucket": "all", "metric": f"rebatched_{column}"}
        rows.append({**place, "value": float(differ.mean()), "n": len(differ), "low": low, "high": high})
    return rows


def measure(
    folder: Path,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    facts: pd.DataFrame,
    training_set: pd.DataFrame | None,
    settings: EvaluationSettings,
    tests: Sequence[TaskExamples] = (),
    *,
    shots: int = 0,
    instruction: str = "",
    probe: Probe | None = None,
    progress: Callable[[int], object] = lambda rows: None,
) -> list[dict[str, Any]]:
    """Write ANSWERS into a folder and return the rows of metrics.

    With `probe` (see `reprobe`) the column reprobed_mastery holds the new R of the sampled test facts (else NaN).
    Behind the facts stand the examples of `tests`; a judgement of another task than a row's is missing there.
    """
    examples = answering.shots(facts, shots)
    how: dict[str, Any] = {"examples": examples, "instruction": instruction}
    answers = answering.run(model, tokenizer, facts, training_set, settings, **how, progress=progress)
    metrics = accuracy.rows(answers, [*TASKS.get(settings.task).judgements, "well_formed"])
    metrics += batching_floor(model, tokenizer, facts, answers, settings, how)
    if probe:
        table = reprobe(probe, facts, settings.reprobe)
        metrics += reprobed_metrics(table)
        found = answers["fact_id"].map(table.set_index("fact_id")["mastery"])
        answers["reprobed_mastery"] = found.where(answers["split"] == "test")
    for test in tests:
        found, rows = task_examples.answer(model, tokenizer, test, settings, progress)
        answers, metrics = pd.concat([answers, found], ignore_index=True), metrics + rows
    files.write_parquet(folder / ANSWERS, answers)
    return metrics
