"""The evaluation suite of one model: answers, accuracy, and mastery probed again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sftlens import files
from sftlens.config.stages.evaluation import EvaluationSettings
from sftlens.config.stages.mastery import ProbingSettings
from sftlens.evaluation import accuracy, answering
from sftlens.mastery import reprobing
from sftlens.mastery.completions import Probe
from sftlens.tasks import TASKS

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ANSWERS = "answers.parquet"


@dataclass(frozen=True)
class Reprobing:
    """How the base model was probed, for probing another model alike."""

    sentences: Mapping[str, Sequence[str]]
    settings: ProbingSettings
    of: str
    """Content of the model that is probed again."""


def measure(
    folder: Path,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    facts: pd.DataFrame,
    training_set: pd.DataFrame | None,
    settings: EvaluationSettings,
    *,
    shots: int = 0,
    reprobing_as: Reprobing | None = None,
    progress: Callable[[int], object] = lambda rows: None,
) -> list[dict[str, Any]]:
    """Write ANSWERS into a folder and return the rows of metrics.

    When the model is probed again, the column reprobed_mastery holds the new R of the sampled test facts (else NaN).
    """
    examples = answering.shots(facts, shots)
    answers = answering.run(model, tokenizer, facts, training_set, settings, examples=examples, progress=progress)
    metrics = accuracy.rows(answers, [*TASKS.get(settings.task).judgements, "well_formed"])
    if reprobing_as:
        how = (reprobing_as.sentences, reprobing_as.settings, progress, reprobing_as.of)
        table = reprobing.reprobe(Probe(model, tokenizer, *how), facts, settings.reprobe)
        metrics += reprobing.metrics(table)
        found = answers["fact_id"].map(table.set_index("fact_id")["mastery"])
        answers["reprobed_mastery"] = found.where(answers["split"] == "test")
    files.write_parquet(folder / ANSWERS, answers)
    return metrics
