"""Mastery measured again on a fine-tuned or restored model: format and knowledge can die separately."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from sftlens.config.stages.mastery import ProbingSettings
from sftlens.data.buckets import BUCKETS
from sftlens.mastery import mastery_table
from sftlens.statistics import intervals

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

COLUMNS = ["fact_id", "bucket", "base_mastery", "hits", "trials", "mastery"]


def subset(facts: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return a fixed sample of the test facts: the same for every model, cell and study with these facts."""
    return mastery_table.fixed_sample(facts[facts["split"] == "test"], count)


def reprobe(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    facts: pd.DataFrame,
    sentences: Mapping[str, Sequence[str]],
    settings: ProbingSettings,
    count: int,
    progress: Callable[[int], object] = lambda rows: None,
    *,
    of: str,
) -> pd.DataFrame:
    """Probe a sample of the test facts as the base model was probed, with new samples.

    The base model too is sampled anew at n = 0: its buckets were chosen on the first samples, so that a second look
    regresses to the mean, and without that at n = 0 every fine-tuned model would seem to have moved by as much.

    Args:
        model: the model after fine-tuning or restoration.
        tokenizer: its tokenizer.
        facts: the mastery table of the base model.
        sentences: the completion templates it was probed with.
        settings: the settings it was probed with.
        count: number of facts.
        progress: called with the number of finished (fact, template) pairs.
        of: content of the model, which stands for it in the seeds.

    Returns:
        COLUMNS: bucket and base_mastery are those of the base model, the others the model's own.
    """
    chosen = subset(facts, count)
    known = chosen[["bucket", "mastery"]].rename(columns={"mastery": "base_mastery"})
    table = mastery_table.probe(model, tokenizer, chosen, sentences, settings, progress, of=f"again {of}")
    table[["bucket", "base_mastery"]] = known
    return table[COLUMNS]


def metrics(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the mean mastery per bucket and over all facts, now and of the base model, with 95 % intervals."""
    groups = [(name, table[table["bucket"] == name]) for name in BUCKETS] + [("all", table)]
    rows = []
    for name, part in groups:
        for metric, column in (("reprobed_mastery", "mastery"), ("base_mastery", "base_mastery")):
            if len(part):
                value, low, high = intervals.mean(part[column].tolist())
                place = {"split": "test", "bucket": name, "metric": metric}
                rows.append({**place, "value": value, "n": len(part), "low": low, "high": high})
    return rows
