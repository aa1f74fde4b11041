"""What one model answers: every question, and every example of the task."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from sftlens.config.repair import RepairSettings
from sftlens.data.scoring import JUDGEMENTS
from sftlens.inference import checks
from sftlens.repair.inputs.chat import Prompting
from sftlens.repair.inputs.task_files import SCORES

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Progress = Callable[[int], object]


def of_facts(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    facts: pd.DataFrame,
    prompting: Prompting,
    settings: RepairSettings,
    progress: Progress = lambda rows: None,
) -> pd.DataFrame:
    """Return one row a fact, in their order: fact_id, output, the judgements (`matching.JUDGEMENTS`), well_formed.

    Answers are greedy; well_formed: EOS within the limit. Raises DataError, ModelError as `asking.greedy`.
    """
    ids, names = prompting.questions(tokenizer, facts["question"].tolist()), facts["fact_id"].tolist()
    texts, ended = _greedy(model, tokenizer, ids, names, settings.max_new_tokens, settings.batch_tokens, progress)
    table = pd.DataFrame({"fact_id": names, "output": texts})
    for name, judge in JUDGEMENTS.items():
        table[name] = [judge(text, accepted) for text, accepted in zip(texts, facts["aliases"], strict=True)]
    return table.assign(well_formed=ended)


def of_tasks(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    tasks: pd.DataFrame,
    prompting: Prompting,
    settings: RepairSettings,
    progress: Progress = lambda rows: None,
) -> pd.DataFrame:
    """Return one row an example, in their order: task_id, output, score (0 to 1), well_formed. Raises as `of_facts`."""
    ids = prompting.tasks(tokenizer, tasks["prompt"].tolist())
    names = [f"task example {number}" for number in range(1, len(tasks) + 1)]
    texts, ended = _greedy(model, tokenizer, ids, names, settings.task_max_new_tokens, settings.batch_tokens, progress)
    score = SCORES[settings.score]
    scores = [score(text, target) for text, target in zip(texts, tasks["target"], strict=True)]
    return pd.DataFrame({"task_id": tasks["task_id"].tolist(), "output": texts, "score": scores, "well_formed": ended})


def _greedy(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    ids: Sequence[Sequence[int]],
    names: Sequence[str],
    new_tokens: int,
    batch_tokens: int,
    progress: Progress,
) -> tuple[list[str], list[bool]]:
    """Return each output as text, and whether it ended."""
    eos = checks.ends(model, tokenizer)
    limits = {"max_new_tokens": new_tokens, "batch_tokens": batch_tokens}
    outputs = checks.greedy(model, ids, names, eos=eos, progress=progress, **limits)
    return tokenizer.batch_decode(outputs, skip_special_tokens=True), [output[-1] in eos for output in outputs]
