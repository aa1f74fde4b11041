"""Closed-book question answering: greedy answers, judged and counted (arXiv 2509.16596)."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sftlens import generation, prompts, statistics
from sftlens.errors import DataError
from sftlens.mastery import BUCKETS
from sftlens.matching import accepted, contains
from sftlens.settings.evaluation import EvaluationSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TEST_SPLITS = ("test", "testood")
ANSWER_COLUMNS = ["fact_id", "split", "bucket", "output", "contains", "well_formed"]


def shots(facts: pd.DataFrame, count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Return `count` solved examples for the few-shot baseline, drawn from the train split (question, object)."""
    if not count:
        return []
    train = facts[facts["split"] == "train"] if "split" in facts else facts.head(0)
    if len(train) < count:
        raise DataError(f"{count} shots need as many train facts, there are {len(train)}; lower `shots`")
    chosen = np.random.default_rng(seed).choice(len(train), count, replace=False)
    rows = train.iloc[chosen]
    return list(zip(rows["question"], rows["object"], strict=True))


def answer(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    facts: pd.DataFrame,
    settings: EvaluationSettings,
    *,
    examples: Sequence[tuple[str, str]] = (),
    progress: Callable[[int], object] = lambda rows: None,
) -> pd.DataFrame:
    """Answer each question greedily and judge the answer.

    Args:
        model: causal language model.
        tokenizer: its tokenizer.
        facts: columns fact_id, split, question, aliases (or object) and, if known, bucket.
        settings: length of an answer.
        examples: solved examples to put before each question.
        progress: called with the number of finished questions.

    Returns:
        One row a fact, in their order: fact_id, split, bucket ("" if unknown), output (text without special
        tokens), contains (the object or an alias is a substring), well_formed (EOS within the limit).
    """
    ids = prompts.encode_prompts(tokenizer, facts["question"].tolist(), examples)
    eos = int(tokenizer.eos_token_id)
    outputs = generation.greedy(
        model,
        ids,
        max_new_tokens=settings.max_new_tokens,
        eos=eos,
        batch_tokens=settings.batch_tokens,
        progress=progress,
    )
    texts = tokenizer.batch_decode(outputs, skip_special_tokens=True) if outputs else []
    table = pd.DataFrame({"fact_id": facts["fact_id"].tolist(), "split": facts["split"].tolist()})
    table["bucket"] = facts["bucket"].tolist() if "bucket" in facts else ""
    table["output"] = texts
    table["contains"] = [contains(text, a) for text, a in zip(texts, accepted(facts), strict=True)]
    table["well_formed"] = [output[-1:] == [eos] for output in outputs]
    return table[ANSWER_COLUMNS]


def accuracy(answers: pd.DataFrame) -> list[dict[str, Any]]:
    """Return accuracy per split and bucket, and the macro over the five buckets, as rows of metrics.

    The macro is the unweighted mean over D0..D4 and is left out when a bucket is empty.
    `contains_given_well_formed` counts only answers that ended within the limit.
    """
    rows: list[dict[str, Any]] = []
    for split, part in answers.groupby("split", sort=False):
        well = part[part["well_formed"]]
        for metric, column, subset in (
            ("contains", "contains", part),
            ("well_formed", "well_formed", part),
            ("contains_given_well_formed", "contains", well),
        ):
            groups = {name: subset.loc[subset["bucket"] == name, column] for name in BUCKETS}
            rows += [_share(split, name, metric, values) for name, values in groups.items() if len(values)]
            if len(subset):
                rows.append(_share(split, "all", metric, subset[column]))
            if all(len(values) for values in groups.values()):
                rows.append(_macro(split, metric, list(groups.values())))
    return rows


def _share(split: object, bucket: str, metric: str, values: pd.Series) -> dict[str, Any]:
    successes, trials = int(values.sum()), len(values)
    low, high = statistics.wilson(successes, trials)
    share = successes / trials
    return _row(split, bucket, metric, trials, share, low, high)


def _macro(split: object, metric: str, groups: Sequence[pd.Series]) -> dict[str, Any]:
    sizes = [len(values) for values in groups]
    shares = [int(values.sum()) / len(values) for values in groups]
    value, low, high = statistics.macro(shares, sizes)
    return _row(split, "macro", metric, sum(sizes), value, low, high)


def _row(split: object, bucket: str, metric: str, n: int, value: float, low: float, high: float) -> dict[str, Any]:
    place = {"split": split, "bucket": bucket, "metric": metric}
    return {**place, "value": value, "n": n, "low": low, "high": high}


def run(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    facts: pd.DataFrame,
    training_set: pd.DataFrame | None,
    settings: EvaluationSettings,
    *,
    examples: Sequence[tuple[str, str]] = (),
    progress: Callable[[int], object] = lambda rows: None,
) -> pd.DataFrame:
    """Answer the test and testood facts, and the training set itself as split `train` (Table 6).

    Raises DataError when no fact belongs to the test splits.
    """
    asked = facts[facts["split"].isin(TEST_SPLITS)] if "split" in facts else facts.assign(split="test")
    if asked.empty:
        raise DataError(f"no fact is of split {' or '.join(TEST_SPLITS)}; give a facts table with test facts")
    if training_set is not None:
        asked = pd.concat([asked, training_set.assign(split="train")], ignore_index=True)
        if "bucket" in asked:
            asked["bucket"] = asked["bucket"].fillna("")
    return answer(model, tokenizer, asked, settings, examples=examples, progress=progress)
