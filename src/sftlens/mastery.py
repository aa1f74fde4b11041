"""How well a model masters a fact: the share of sampled completions with its object (arXiv 2509.16596)."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sftlens import generation, templates
from sftlens.matching import accepted, contains
from sftlens.settings.probing import ProbingSettings

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BUCKETS = ("D0", "D1", "D2", "D3", "D4")


def bucket(mastery: float) -> str:
    """Return the bucket of a mastery R in [0, 1]: D0 is R = 0, then quarters closed above."""
    return BUCKETS[int(np.ceil(mastery * 4))]


def probe(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    facts: "pd.DataFrame",
    sentences: Mapping[str, Sequence[str]],
    settings: ProbingSettings,
    progress: Callable[[int], object] = lambda rows: None,
) -> "pd.DataFrame":
    """Measure the mastery of each fact.

    Args:
        model: pre-trained causal language model.
        tokenizer: its tokenizer; adds BOS as it always does.
        facts: columns fact_id, relation, subject and aliases (or object, where there are no aliases).
        sentences: completion templates of each relation.
        settings: number of samples, temperature, length, seed.
        progress: called with the number of finished (fact, template) pairs.

    Returns:
        `facts` with the columns hits, trials (int64), mastery (float64 in [0, 1]), bucket (D0..D4) and
        template_hits (list of int, in the order of the templates).
    """
    pairs = [(i, t) for i, relation in enumerate(facts["relation"]) for t in range(len(sentences[relation]))]
    relations, subjects = facts["relation"].tolist(), facts["subject"].tolist()
    ids, aliases = facts["fact_id"].tolist(), accepted(facts)
    texts = [templates.fill(sentences[relations[i]][t], subjects[i]) for i, t in pairs]
    streams = [stream(settings.seed, ids[i], texts[k]) for k, (i, t) in enumerate(pairs)]
    hits = np.zeros(len(pairs), dtype=np.int64)

    def found(places: list[int], tokens: list[list[int]]) -> list[bool]:
        outputs = tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [contains(text, aliases[pairs[place][0]]) for place, text in zip(places, outputs, strict=True)]

    for batch in generation.sample(
        model,
        tokenizer(texts)["input_ids"] if texts else [],
        streams,
        found,
        samples=settings.samples,
        temperature=settings.temperature,
        max_new_tokens=settings.max_new_tokens,
        eos=tokenizer.eos_token_id,
        batch_tokens=settings.batch_tokens,
    ):
        hits[batch.places] = batch.hits
        progress(len(batch.places))
    return _with_mastery(facts, pairs, hits, settings.samples)


def stream(seed: int, fact_id: str, text: str) -> bytes:
    """Return the sixteen bytes that seed the samples of one fact and one completion sentence."""
    return hashlib.sha256(f"{seed}\0{fact_id}\0{text}".encode()).digest()[:16]


def _with_mastery(
    facts: "pd.DataFrame", pairs: Sequence[tuple[int, int]], hits: np.ndarray, samples: int
) -> "pd.DataFrame":
    per_fact: list[list[int]] = [[] for _ in range(len(facts))]
    for (fact, _), count in zip(pairs, hits.tolist(), strict=True):
        per_fact[fact].append(count)
    table = facts.reset_index(drop=True).copy()
    table["hits"] = np.array([sum(row) for row in per_fact], dtype=np.int64)
    table["trials"] = np.array([len(row) * samples for row in per_fact], dtype=np.int64)
    table["mastery"] = table["hits"] / table["trials"]
    table["bucket"] = [bucket(r) for r in table["mastery"]]
    table["template_hits"] = per_fact
    return table


def best_templates(mastery: "pd.DataFrame") -> dict[str, int]:
    """Return for each relation the place of the template with the most hits; ties go to the earlier one."""
    best = {}
    for relation, rows in mastery.groupby("relation", sort=False)["template_hits"]:
        best[str(relation)] = int(np.argmax(np.sum(rows.tolist(), axis=0)))
    return best


def counts(mastery: "pd.DataFrame") -> list[dict[str, object]]:
    """Return the number of facts per split and bucket as rows of metrics (Tables 1 and 8)."""
    size = mastery.groupby(["split", "bucket"]).size()
    return [
        {
            "split": split,
            "bucket": name,
            "metric": "facts",
            "value": float(size.get((split, name), 0)),
            "n": int(size.get((split, name), 0)),
        }
        for split in dict.fromkeys(mastery["split"])
        for name in BUCKETS
    ]
