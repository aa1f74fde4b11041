"""Sampled completions of the sentences about facts, and which of them hold the answer (arXiv 2509.16596, section 2)."""

import hashlib
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sftlens import inference
from sftlens.config.stages.mastery import ProbingSettings
from sftlens.data import relations
from sftlens.data.scoring import accepted, contains
from sftlens.inference.prompts import token_ids

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Probe:
    """A pre-trained causal language model, and how facts are probed on it."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    """Adds BOS as it always does."""
    sentences: Mapping[str, Sequence[str]]
    """The completion templates of each relation."""
    settings: ProbingSettings
    """Number of samples and templates, temperature, length, seed, token budget."""
    progress: Callable[[int], object] = lambda prompts: None
    """Called with the number of finished (fact, template) pairs."""
    of: str = ""
    """Stands for the model in the seeds: its content, so that models are sampled independently."""


@dataclass(frozen=True)
class Prompt:
    """A sentence that is to be completed."""

    fact: int
    """Row of its fact."""
    text: str
    """The template with the fact's subject."""
    stream: bytes
    """What seeds its samples."""


@dataclass(frozen=True)
class SampledBatch:
    """The samples of one batch of prompts."""

    batch: int
    """Number of the batch; which prompts it holds depends on the arguments of `sample` without `done`."""
    prompts: list[int]
    """Its prompts: indices in the order of the facts, then of the templates."""
    hits: list[int] | list[float]
    """For each of them the number of samples that contain the answer."""
    texts: list[dict[str, int]]
    """For each of them the distinct texts, up to where the answer appeared, with their counts; empty unless kept."""


def stream(seed: int, model: str, fact_id: str, text: str) -> bytes:
    """Return the sixteen bytes that seed one model's samples of one fact and one completion sentence."""
    return hashlib.sha256(f"{seed}\0{model}\0{fact_id}\0{text}".encode()).digest()[:16]


def sample(
    probe: Probe, facts: "pd.DataFrame", *, keep_texts: bool = False, done: Container[int] = ()
) -> Iterator[SampledBatch]:
    """Sample completions of every sentence of every fact, batch by batch; the probe's progress is not called.

    `facts` has the columns fact_id, relation, subject and aliases (or object, where there are no aliases).
    `keep_texts`: also return what was sampled; `done`: numbers of batches to leave out. Raises DataError where a fact
    has no accepted answer, or its prompt does not fit the model's context, ModelError where the tokenizer does not
    belong to the model, or the logits are NaN or Inf.
    """
    rows = zip(facts["fact_id"], facts["relation"], facts["subject"], strict=True)
    prompts = [
        Prompt(i, text, stream(probe.settings.seed, probe.of, fact_id, text))
        for i, (fact_id, relation, subject) in enumerate(rows)
        for text in (relations.fill(sentence, subject) for sentence in probe.sentences[relation])
    ]
    return draw(probe, facts, prompts, probe.settings.samples, keep_texts=keep_texts, done=done)


def draw(
    probe: Probe,
    facts: "pd.DataFrame",
    prompts: Sequence[Prompt],
    samples: int,
    *,
    keep_texts: bool = False,
    done: Container[int] = (),
) -> Iterator[SampledBatch]:
    """Sample so many completions of some prompts about `facts`; arguments and errors as for `sample`.

    The prompts of a batch are indices in `prompts`.
    """
    model, tokenizer, settings = probe.model, probe.tokenizer, probe.settings
    aliases, ids_of_facts = accepted(facts), facts["fact_id"].tolist()

    def texts_of(outputs: list[list[int]]) -> list[str]:
        return tokenizer.batch_decode(outputs, skip_special_tokens=True)

    def found(indices: list[int], outputs: list[list[int]]) -> list[bool]:
        pairs = zip(indices, texts_of(outputs), strict=True)
        return [contains(text, aliases[prompts[index].fact]) for index, text in pairs]

    ids = token_ids(tokenizer, [prompt.text for prompt in prompts])
    inference.check_prompts(ids, settings.max_new_tokens, model, [ids_of_facts[prompt.fact] for prompt in prompts])
    batches = inference.sample(
        model,
        ids,
        [prompt.stream for prompt in prompts],
        found,
        samples=samples,
        temperature=settings.temperature,
        max_new_tokens=settings.max_new_tokens,
        eos=tokenizer.eos_token_id,
        batch_tokens=settings.batch_tokens,
        keep_outputs=keep_texts,
        done=done,
    )
    for batch in batches:
        texts = []
        for ends in batch.outputs if keep_texts else ():
            counts: Counter[str] = Counter()
            for text, (_, count) in zip(texts_of([ids for ids, _ in ends]), ends, strict=True):
                counts[text] += count
            texts.append(by_frequency(counts))
        yield SampledBatch(batch.number, list(batch.indices), batch.hits.tolist(), texts)


def by_frequency(counts: Mapping[str, int]) -> dict[str, int]:
    """Return texts with their counts, the most frequent first, ties by text."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
