"""Closed-book question answering: greedy answers, judged and counted (arXiv 2509.16596)."""

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sftlens import inference
from sftlens.config.stages.evaluation import EvaluationSettings
from sftlens.data.scoring import accepted, contains
from sftlens.errors import DataError
from sftlens.inference import chat, prompts
from sftlens.tasks import DEFAULT, TASKS

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TODAY = date(2025, 1, 1)
"""For chat templates that write the date: answers must not depend on the day."""
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
    instruction: str = "",
    progress: Callable[[int], object] = lambda rows: None,
) -> pd.DataFrame:
    """Answer each question greedily, with solved `examples` before it, and judge the answer.

    With an `instruction` an instruct model is asked: by its chat template, this line before the question.

    `facts` has the columns fact_id, split, question, aliases (or object) and, if known, relation and bucket; `progress`
    is called with the number of finished questions. Returns one row a fact, in their order, with ANSWER_COLUMNS:
    relation and bucket ("" if unknown), output (text without special tokens), the judgements of it (`Task.judgements`:
    f1 float, the others bool), well_formed (EOS, or the end of the turn, within the limit).

    Raises DataError where a fact has no answer, or its prompt does not fit the model's context, ModelError where the
    model's logits are not finite, ConfigError where there is an instruction and no chat template.
    """
    aliases = accepted(facts)
    used = chat.Chat(tokenizer, Path(tokenizer.name_or_path), today=TODAY) if instruction else None
    if used:
        asked = [used.render(f"{instruction}\n{question}") for question in facts["question"]]
        ids = prompts.token_ids(tokenizer, asked, add_special_tokens=False)  # a chat template writes BOS itself
        stops = chat.ends(model, tokenizer, used.turn_end)
    else:
        ids = prompts.encode_prompts(tokenizer, facts["question"].tolist(), examples, settings.task)
        stops = [int(tokenizer.eos_token_id)]
    outputs = inference.greedy(
        model,
        ids,
        facts["fact_id"].tolist(),
        max_new_tokens=settings.max_new_tokens,
        eos=stops,
        batch_tokens=settings.batch_tokens,
        progress=progress,
    )
    if used:
        said = chat.read(tokenizer, outputs, stops, used.turn_end, chat.opens_thinking(used.sample))
        texts, ended = [one.text for one in said], [one.ended for one in said]
    else:
        texts = tokenizer.batch_decode(outputs, skip_special_tokens=True) if outputs else []
        ended = [output[-1:] == stops for output in outputs]
    table = pd.DataFrame({"fact_id": facts["fact_id"].tolist(), "split": facts["split"].tolist()})
    for column in ("relation", "bucket"):
        table[column] = facts[column].tolist() if column in facts else ""
    table["output"] = texts
    for name, judge in TASKS.get(settings.task).judgements.items():
        table[name] = [judge(text, strings) for text, strings in zip(texts, aliases, strict=True)]
    table["well_formed"] = ended
    return table


def run(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    facts: pd.DataFrame,
    training_set: pd.DataFrame | None,
    settings: EvaluationSettings,
    *,
    examples: Sequence[tuple[str, str]] = (),
    instruction: str = "",
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
    how: dict[str, Any] = {"examples": examples, "instruction": instruction, "progress": progress}
    answers = answer(model, tokenizer, asked, settings, **how)
    if "subject" in asked and asked["subject"].notna().all():
        pairs = zip(asked["subject"], accepted(asked), strict=True)
        answers["leak"] = [contains(subject, strings) for subject, strings in pairs]
    trained = set(facts.loc[facts["split"] == "train", "question"]) if "split" in facts else set()
    if trained:
        answers["in_train"] = [question in trained for question in asked["question"]]
    return answers
