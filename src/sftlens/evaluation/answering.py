"""Closed-book question answering: greedy answers, judged and counted (arXiv 2509.16596).

The mastery of a fixed sample of the test facts can be probed again beside them: format and knowledge can part.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sftlens import files, inference
from sftlens.config.stages.evaluation import EvaluationSettings
from sftlens.data import tables
from sftlens.data.buckets import BUCKETS
from sftlens.data.scoring import accepted, contains
from sftlens.errors import DataError
from sftlens.evaluation import accuracy
from sftlens.evaluation.accuracy import TEST_SPLITS
from sftlens.inference import chat, prompts
from sftlens.mastery import mastery_table
from sftlens.mastery.completions import Probe
from sftlens.models.loading import computing
from sftlens.statistics import intervals
from sftlens.tasks import DEFAULT, TASKS, TaskExamples

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TODAY = date(2025, 1, 1)
"""For chat templates that write the date: answers must not depend on the day."""
ASKED = (*TEST_SPLITS, "dev")
ANSWER_COLUMNS = ["fact_id", "split", "relation", "bucket", "output", *TASKS.get(DEFAULT).judgements, "well_formed"]
"""Of the task closed_book_qa; another one has judgements of its own."""
REPROBED = ["fact_id", "bucket", "base_mastery", "hits", "trials", "mastery"]


def solved(facts: pd.DataFrame, count: int, seed: int = 0) -> list[tuple[str, str]]:
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
    **how: Any,
) -> pd.DataFrame:
    """Answer the test and testood facts, dev facts if there are any, and the training set as split `train` (Table 6).

    `how` are the further arguments of `answer`. Returns its table, with two facts about each question: leak (the object
    or an alias stands inside the question's subject; only where all subjects are known) and in_train (the same question
    stands among the train facts of the table; only where it holds train facts). Raises DataError where no fact belongs
    to the test splits, and what `answer` raises.
    """
    asked = facts[facts["split"].isin(ASKED)] if "split" in facts else facts.assign(split="test")
    if asked.empty:
        raise DataError(f"no fact is of split {' or '.join(TEST_SPLITS)}; give a facts table with test facts")
    if training_set is not None:
        asked = pd.concat([asked, training_set.assign(split="train")], ignore_index=True)
        asked = asked.fillna({name: "" for name in ("relation", "bucket") if name in asked})
    answers = answer(model, tokenizer, asked, settings, **how)
    if "subject" in asked and asked["subject"].notna().all():
        pairs = zip(asked["subject"], accepted(asked), strict=True)
        answers["leak"] = [contains(subject, strings) for subject, strings in pairs]
    trained = set(facts.loc[facts["split"] == "train", "question"]) if "split" in facts else set()
    if trained:
        answers["in_train"] = [question in trained for question in asked["question"]]
    return answers


def of_task(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    test: TaskExamples,
    settings: EvaluationSettings,
    progress: Callable[[int], object] = lambda rows: None,
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Return the judged outputs of one task, in the form of `answer`, and the rows of metrics.

    The metrics are the task's judgements and `well_formed`, over all its examples. Of `settings` only batch_tokens
    counts. Raises DataError and ModelError as `answer`.
    """
    own = settings.model_copy(update={"task": test.task, "max_new_tokens": test.max_new_tokens})
    room = [test.max_length - test.max_new_tokens] * len(test.table)
    asked = prompts.shortened(tokenizer, test.table["question"].tolist(), room, test.task)
    table = test.table.assign(split=test.split, question=asked)
    answers = answer(model, tokenizer, table, own, progress=progress)
    return answers, accuracy.rows(answers, [*TASKS.get(test.task).judgements, "well_formed"])


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
    **how: Any,
) -> list[dict[str, Any]]:
    """Return the shares of answers and of judgements that change when a question is answered alone, with intervals.

    In half precision a sum depends on what is computed beside it, and near-ties between two tokens go either way: a
    difference between two models below this floor is one of the instrument. In single precision there is none. `how`
    are the further arguments of `answer`.
    """
    if not settings.rebatched or computing.type_of(model).itemsize > 2:
        return []
    before = tables.fixed_sample(answers[answers["split"] == "test"], settings.rebatched).set_index("fact_id")
    chosen = facts[facts["fact_id"].isin(before.index)].drop_duplicates("fact_id").assign(split="test")
    alone = settings.model_copy(update={"batch_tokens": 1})
    again = answer(model, tokenizer, chosen, alone, **how).set_index("fact_id")
    return [
        accuracy.row("test", "all", f"rebatched_{column}", again[column] != before[column].loc[again.index])
        for column in ("output", "contains")
        if column in again
    ]


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
    """Write answers.parquet into a folder and return the rows of metrics.

    With `probe` (see `reprobe`) the column reprobed_mastery holds the new R of the sampled test facts (else NaN).
    Behind the facts stand the examples of `tests`; a judgement of another task than a row's is missing there.
    """
    examples = solved(facts, shots)
    how: dict[str, Any] = {"examples": examples, "instruction": instruction}
    answers = run(model, tokenizer, facts, training_set, settings, **how, progress=progress)
    metrics = accuracy.rows(answers, [*TASKS.get(settings.task).judgements, "well_formed"])
    metrics += batching_floor(model, tokenizer, facts, answers, settings, **how)
    if probe:
        table = reprobe(probe, facts, settings.reprobe)
        metrics += reprobed_metrics(table)
        found = answers["fact_id"].map(table.set_index("fact_id")["mastery"])
        answers["reprobed_mastery"] = found.where(answers["split"] == "test")
    for test in tests:
        found, rows = of_task(model, tokenizer, test, settings, progress)
        answers, metrics = pd.concat([answers, found], ignore_index=True), metrics + rows
    files.write_parquet(folder / "answers.parquet", answers)
    return metrics
