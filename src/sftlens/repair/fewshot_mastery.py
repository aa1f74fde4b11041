"""Mastery of facts without templates: sampled answers to a question after solved ones.

The paper (arXiv 2509.16596, section 2) completes 21 sentences of the fact's relation. Facts that are only questions
have none, so R is here the share of the samples of several few-shot prompts, each with other solved questions, that
hold the answer before their first line break. It is another number than the paper's, and is labelled `few-shot`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from sftlens import inference
from sftlens.config.repair import FewShotSettings
from sftlens.data.scoring import contains
from sftlens.errors import DataError
from sftlens.inference import checks
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


def prompts(facts: "pd.DataFrame", asked: "pd.DataFrame", settings: FewShotSettings, form: str) -> list[list[str]]:
    """Return the few-shot prompts of each asked fact, text [asked][settings.prompts].

    The shots are `facts` in the order of a hash of the seed; one further fact takes the place of a shot in its own
    prompt. `form` is the text of one question, {question} in it. Raises DataError as `check`.
    """
    check(len(facts), settings)
    number = settings.prompts * settings.shots
    pool = mastery_table.fixed_sample(facts, number + 1, f"shots {settings.seed} ")
    solved = zip(pool["fact_id"], pool["question"], pool["object"], strict=True)
    texts = {fact_id: f"{form.format(question=question)} {answer}\n\n" for fact_id, question, answer in solved}
    *shots, spare = texts
    groups = [shots[start : start + settings.shots] for start in range(0, number, settings.shots)]
    return [
        [
            "".join(texts[spare if s == fact_id else s] for s in group) + form.format(question=question)
            for group in groups
        ]
        for fact_id, question in zip(asked["fact_id"], asked["question"], strict=True)
    ]


def probe(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    facts: "pd.DataFrame",
    asked: "pd.DataFrame",
    settings: FewShotSettings,
    form: str,
    batch_tokens: int,
    *,
    of: str,
    progress: Callable[[int], object] = lambda rows: None,
) -> "pd.DataFrame":
    """Return `asked` with hits, trials, mastery, bucket and template_hits (by prompt), as `mastery.probe` does.

    Args:
        model: causal language model.
        tokenizer: its tokenizer; adds BOS as it always does.
        facts: all facts, from which the shots are drawn (columns fact_id, question, object).
        asked: the facts to measure, with aliases.
        settings: number of prompts, shots and samples; temperature, length, seed.
        form: the text of one question, {question} in it.
        batch_tokens: speed and memory only.
        of: what stands for the model in the seeds of its samples.
        progress: called with the number of finished prompts.

    Raises:
        DataError: too few facts, or a prompt does not fit the model's context.
        ModelError: the logits are NaN or Inf.
    """
    texts = [text for several in prompts(facts, asked, settings, form) for text in several]
    place = np.repeat(np.arange(len(asked)), settings.prompts)
    names, aliases = asked["fact_id"].tolist(), asked["aliases"].tolist()

    def found(places: list[int], outputs: list[list[int]]) -> list[bool]:
        said = tokenizer.batch_decode(outputs, skip_special_tokens=True)
        # Up to the first line break: after it a base model goes on to questions of its own.
        lines = [text.lstrip("\n").split("\n", 1)[0] for text in said]
        return [contains(line, aliases[place[i]]) for i, line in zip(places, lines, strict=True)]

    ids = token_ids(tokenizer, texts)
    checks.require_context(model, ids, [names[i] for i in place], settings.max_new_tokens)
    batches = inference.sample(
        model,
        ids,
        [stream(settings.seed, of, names[i], text) for i, text in zip(place, texts, strict=True)],
        found,
        samples=settings.samples,
        temperature=settings.temperature,
        max_new_tokens=settings.max_new_tokens,
        eos=checks.ends(model, tokenizer),
        batch_tokens=batch_tokens,
    )
    hits = np.zeros(len(texts), dtype=np.int64)
    for batch in checks.named(model, batches):
        hits[batch.indices] = batch.hits
        progress(len(batch.indices))
    return mastery_table.with_mastery(asked, hits.reshape(len(asked), settings.prompts).tolist(), settings.samples)
