"""Token-level divergence of a fine-tuned model from its base at the first predicted token (paper section 5)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from sftlens import generation, mastery, prompts, statistics, templates
from sftlens.settings.divergence import DivergenceSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

METRICS = ("kl", "kl_same_prompt", "kl_full_pq", "kl_full_qp")


def select(
    base: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    facts: pd.DataFrame,
    sentences: Mapping[str, Sequence[str]],
    settings: DivergenceSettings,
) -> pd.DataFrame:
    """Return the D4 test facts whose answer comes near the beginning of the base model's greedy completion.

    Args:
        base: pre-trained model.
        tokenizer: its tokenizer.
        facts: the mastery table (all splits; the best template is chosen on train facts, ties by order).
        sentences: completion templates of each relation.
        settings: number of words before the answer, length of the completion.

    Returns:
        The facts that are candidates, with the columns sentence (the best template, filled), words_before (words
        in front of the answer; -1 when it never comes) and kept (words_before within the limit).
    """
    best = mastery.best_templates(facts[facts["split"] == "train"])
    chosen = facts[(facts["split"] == "test") & (facts["bucket"] == "D4")].reset_index(drop=True)
    chosen = chosen[chosen["relation"].isin(list(best))].reset_index(drop=True)
    chosen["sentence"] = [
        templates.fill(sentences[relation][best[relation]], subject)
        for relation, subject in zip(chosen["relation"], chosen["subject"], strict=True)
    ]
    outputs = generation.greedy(
        base,
        _completion_prompts(tokenizer, chosen),
        max_new_tokens=settings.max_new_tokens,
        eos=int(tokenizer.eos_token_id),  # type: ignore[arg-type]
        batch_tokens=settings.batch_tokens,
    )
    texts = tokenizer.batch_decode(outputs, skip_special_tokens=True) if outputs else []
    chosen["words_before"] = [words_before(t, a) for t, a in zip(texts, chosen["aliases"], strict=True)]
    chosen["kept"] = (chosen["words_before"] >= 0) & (chosen["words_before"] < max(1, settings.answer_within_words))
    return chosen


def words_before(text: str, aliases: Sequence[str]) -> int:
    """Return the number of whole words in front of the earliest accepted answer in `text`; -1 without one."""
    places = [place for alias in aliases if (place := text.find(alias)) >= 0]
    return len(text[: min(places)].split()) if places else -1


def measure(
    base: "PreTrainedModel",
    finetuned: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    chosen: pd.DataFrame,
    settings: DivergenceSettings,
) -> pd.DataFrame:
    """Return the divergences of each kept fact, nats: the columns fact_id, words_before and METRICS.

    `kl` is the paper's: p (fine-tuned) reads the question's prompt, q (pre-trained) the completion sentence; both
    are renormalised over p's largest logits. `kl_same_prompt`: both read the question's prompt. `kl_full_pq` and
    `kl_full_qp`: the whole vocabulary, in both directions, prompts as in `kl`.
    """
    kept = chosen[chosen["kept"]].reset_index(drop=True)
    table = kept[["fact_id", "words_before"]].copy()
    for metric in METRICS:
        table[metric] = 0.0
    questions = [prompts.encode_prompt(tokenizer, question) for question in kept["question"]]
    completions = _completion_prompts(tokenizer, kept)
    for places, p in generation.first_logits(finetuned, questions, settings.batch_tokens):
        q = _in_order(base, [completions[i] for i in places], settings.batch_tokens)
        same = _in_order(base, [questions[i] for i in places], settings.batch_tokens)
        table.loc[places, "kl"] = top_kl(p, q, settings.top).tolist()
        table.loc[places, "kl_same_prompt"] = top_kl(p, same, settings.top).tolist()
        table.loc[places, "kl_full_pq"] = full_kl(p, q).tolist()
        table.loc[places, "kl_full_qp"] = full_kl(q, p).tolist()
    return table


def top_kl(p: torch.Tensor, q: torch.Tensor, top: int) -> torch.Tensor:
    """Return KL(p || q) over p's `top` largest logits, each set renormalised by itself (paper section 5).

    Args:
        p, q: logits, float32 [rows, vocabulary].
        top: number of tokens compared.

    Returns:
        float64 [rows], nats.
    """
    values, places = p.topk(min(top, p.shape[-1]), dim=-1)
    return full_kl(values, q.gather(-1, places))


def full_kl(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """Return KL(softmax p || softmax q), nats, float64 [rows]; logits [rows, tokens]."""
    log_p, log_q = torch.log_softmax(p.double(), -1), torch.log_softmax(q.double(), -1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def metrics(table: pd.DataFrame, candidates: int) -> list[dict[str, Any]]:
    """Return the mean of each divergence with its 95 % interval over facts, and the number of facts kept."""
    rows: list[dict[str, Any]] = [_row("facts_kept", float(len(table)), candidates)]
    at_start = table[table["words_before"] == 0]
    for part, suffix in ((table, ""), (at_start, "_at_start")):
        for metric in METRICS if not suffix else METRICS[:1]:
            if len(part):
                value, low, high = statistics.mean(part[metric].tolist())
                rows.append({**_row(metric + suffix, value, len(part)), "low": low, "high": high})
    return rows


def _row(metric: str, value: float, count: int) -> dict[str, Any]:
    return {"split": "test", "bucket": "D4", "metric": metric, "value": value, "n": count}


def _completion_prompts(tokenizer: "PreTrainedTokenizerBase", facts: pd.DataFrame) -> list[list[int]]:
    sentences = facts["sentence"].tolist()
    return tokenizer(sentences)["input_ids"] if sentences else []  # type: ignore[return-value]


def _in_order(model: "PreTrainedModel", ids: Sequence[Sequence[int]], batch_tokens: int) -> torch.Tensor:
    rows: Iterator[tuple[list[int], torch.Tensor]] = generation.first_logits(model, ids, batch_tokens)
    found = {place: logits[i] for places, logits in rows for i, place in enumerate(places)}
    return torch.stack([found[i] for i in range(len(ids))])
