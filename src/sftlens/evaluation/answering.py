"""Closed-book question answering: greedy answers, judged and counted (arXiv 2509.16596)."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sftlens import inference
from sftlens.config.stages.evaluation import EvaluationSettings
from sftlens.data.scoring import accepted, contains
from sftlens.errors import DataError
from sftlens.inference import prompts
from sftlens.tasks import DEFAULT, TASKS

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TEST_SPLITS = ("test", "testood")
ASKED = (*TEST_SPLITS, "dev")
ANSWER_COLUMNS = ["fact_id", "split", "relation", "bucket", "output", *TASKS.get(DEFAULT).judgements, "well_formed"]
"""Of the task closed_book_qa; another one has judgements of its own."""


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
    """Answer each question greedily, with solved `examples` before it, and judge the answer.

    `facts` has the columns fact_id, split, question, aliases (or object) and, if known, relation and bucket; `progress`
    is called with the number of finished questions. Returns one row a fact, in their order, with ANSWER_COLUMNS:
    relation and bucket ("" if unknown), output (text without special tokens), the judgements of it (`Task.judgements`:
    f1 float, the others bool), well_formed (EOS within the limit).

    Raises DataError where a fact has no answer, or its prompt does not fit the model's context, ModelError where the
    model's logits are not finite.
    """
    aliases = accepted(facts)
    ids = prompts.encode_prompts(tokenizer, facts["question"].tolist(), examples, settings.task)
    eos = int(tokenizer.eos_token_id)
    outputs = inference.greedy(
        model,
        ids,
        facts["fact_id"].tolist(),
        max_new_tokens=settings.max_new_tokens,
        eos=eos,
        batch_tokens=settings.batch_tokens,
        progress=progress,
    )
    texts = tokenizer.batch_decode(outputs, skip_special_tokens=True) if outputs else []
    table = pd.DataFrame({"fact_id": facts["fact_id"].tolist(), "split": facts["split"].tolist()})
    for column in ("relation", "bucket"):
        table[column] = facts[column].tolist() if column in facts else ""
    table["output"] = texts
    for name, judge in TASKS.get(settings.task).judgements.items():
        table[name] = [judge(text, strings) for text, strings in zip(texts, aliases, strict=True)]
    table["well_formed"] = [output[-1:] == [eos] for output in outputs]
    return table


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
    """Answer the test and testood facts, dev facts if there are any, and the training set as split `train` (Table 6).

    Returns the table of `answer`, with two facts about each question: leak (the object or an alias stands inside the
    question's subject; only where all subjects are known) and in_train (the same question stands among the train facts
    of the table; only where it holds train facts). Raises DataError where no fact belongs to the test splits, and what
    `answer` raises.
    """
    asked = facts[facts["split"].isin(ASKED)] if "split" in facts else facts.assign(split="test")
    if asked.empty:
        raise DataError(f"no fact is of split {' or '.join(TEST_SPLITS)}; give a facts table with test facts")
    if training_set is not None:
        asked = pd.concat([asked, training_set.assign(split="train")], ignore_index=True)
        asked = asked.fillna({name: "" for name in ("relation", "bucket") if name in asked})
    answers = answer(model, tokenizer, asked, settings, examples=examples, progress=progress)
    if "subject" in asked and asked["subject"].notna().all():
        pairs = zip(asked["subject"], accepted(asked), strict=True)
        answers["leak"] = [contains(subject, strings) for subject, strings in pairs]
    trained = set(facts.loc[facts["split"] == "train", "question"]) if "split" in facts else set()
    if trained:
        answers["in_train"] = [question in trained for question in asked["question"]]
    return answers
