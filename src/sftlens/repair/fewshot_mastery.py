"""Mastery of facts without templates: sampled answers to a question after solved ones.

The paper (arXiv 2509.16596, section 2) completes 21 sentences of the fact's relation. Facts that are only questions
have none, so R is here the share of the samples of several few-shot prompts, each with other solved questions, that
hold the answer in their first line (`scoring.first_line`, by which all answers are judged). It is another number than
the paper's, and is labelled `few-shot`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from sftlens import inference
from sftlens.config.repair import FewShotSettings
from sftlens.data import tables
from sftlens.data.scoring import first_line, may_grow
from sftlens.errors import DataError
from sftlens.inference.prompts import token_ids
from sftlens.mastery import mastery_table
from sftlens.mastery.completions import stream

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LABEL = "few-shot QA sampling"


def check(facts: int, settings: FewShotSettings) -> None:
    """Raise DataError unless there are more facts than all prompts have shots."""
    number = settings.prompts * settings.shots
    if facts <= number:
        raise DataError(
            f"{facts} facts are too few for {settings.prompts} few-shot prompts of {settings.shots} solved ones; give "
            f"at least {number + 1} facts, or lower few_shot.shots"
        )


def prompts(pool: "pd.DataFrame", facts: "pd.DataFrame", settings: FewShotSettings, form: str) -> list[list[str]]:
    """Return the few-shot prompts of each fact, text [facts][settings.prompts].

    The shots are taken from `pool` (fact_id, question, object) in the order of a hash of the seed; one further fact
    replaces a shot in its own prompt. `form` is the text of a question, {question} in it. Raises DataError as `check`.
    """
    check(len(pool), settings)
    number = settings.prompts * settings.shots
    chosen = tables.fixed_sample(pool, number + 1, f"shots {settings.seed} ")
    solved = zip(chosen["fact_id"], chosen["question"], chosen["object"], strict=True)
    texts = {fact_id: f"{form.format(question=question)} {answer}\n\n" for fact_id, question, answer in solved}
    *shots, spare = texts
    groups = [shots[start : start + settings.shots] for start in range(0, number, settings.shots)]
    return [
        [
            "".join(texts[spare if s == fact_id else s] for s in group) + form.format(question=question)
            for group in groups
        ]
        for fact_id, question in zip(facts["fact_id"], facts["question"], strict=True)
    ]


def probe(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    pool: "pd.DataFrame",
    facts: "pd.DataFrame",
    settings: FewShotSettings,
    form: str,
    batch_tokens: int,
    *,
    of: str,
    opening: str = "",
    progress: Callable[[int], object] = lambda rows: None,
) -> "pd.DataFrame":
    """Return `facts` with hits, trials, mastery, bucket and template_hits (by prompt), as `mastery_table.probe` does.

    Args:
        tokenizer: adds BOS as it always does.
        pool, form: the facts from which the shots are taken, and the text of one question, as in `prompts`.
        facts: the facts to measure, with aliases.
        batch_tokens: speed, memory, and in half precision the rounding.
        of: content of the model, part of the seeds of its samples.
        opening: the text that begins every question; a sample that begins another one ends there.
        progress: called with the number of finished prompts.

    Raises DataError on too few facts, or a prompt that does not fit the model's context, ModelError on NaN or Inf.
    """
    texts = [text for several in prompts(pool, facts, settings, form) for text in several]
    fact_of = np.repeat(np.arange(len(facts)), settings.prompts)
    names, aliases = facts["fact_id"].tolist(), facts["aliases"].tolist()

    # A sample is followed no further once it holds the answer, unless that is a number, which may grow.
    grow = [may_grow(accepted) for accepted in aliases]

    def right(indices: list[int], outputs: list[list[int]]) -> list[bool]:
        said = tokenizer.batch_decode(outputs, skip_special_tokens=True)
        return [first_line(text, aliases[fact_of[i]], opening) for i, text in zip(indices, said, strict=True)]

    def found(indices: list[int], outputs: list[list[int]]) -> list[bool]:
        return [hit and not grow[fact_of[i]] for i, hit in zip(indices, right(indices, outputs), strict=True)]

    ids = token_ids(tokenizer, texts)
    inference.check_prompts(ids, settings.max_new_tokens, model, [names[i] for i in fact_of])
    batches = inference.sample(
        model,
        ids,
        [stream(settings.seed, of, names[i], text) for i, text in zip(fact_of, texts, strict=True)],
        found,
        samples=settings.samples,
        temperature=settings.temperature,
        max_new_tokens=settings.max_new_tokens,
        eos=inference.ends(model, tokenizer),
        batch_tokens=batch_tokens,
        keep_outputs=any(grow),
    )
    hits = np.zeros(len(texts), dtype=np.int64)
    for batch in batches:
        hits[batch.indices] = batch.hits
        for i, ends in zip(batch.indices, batch.outputs, strict=False):
            if grow[fact_of[i]]:
                counts = np.array([count for _, count in ends])
                hits[i] = counts[right([i] * len(ends), [tokens for tokens, _ in ends])].sum()
        progress(len(batch.indices))
    columns = mastery_table.measured(hits.reshape(len(facts), settings.prompts).tolist(), settings.samples)
    return facts.reset_index(drop=True).assign(**columns)
