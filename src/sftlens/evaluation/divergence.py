"""Divergence of a fine-tuned model from its base at the first predicted token (arXiv 2509.16596)."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from sftlens import inference
from sftlens.config.stages.evaluation import DivergenceSettings
from sftlens.data import relations
from sftlens.data.scoring import accepted
from sftlens.errors import DataError, ModelError
from sftlens.inference import prompts
from sftlens.mastery import mastery_table
from sftlens.statistics import intervals

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

METRICS = ("kl", "kl_same_prompt", "kl_full_pq", "kl_full_qp")
LOGITS = ("logits_after_sentence", "logits_after_question")
"""What is kept of the base model for each fact, so that no cell asks it again."""
COLUMNS = ("fact_id", "question", "sentence", "words_before", "kept", *LOGITS)
"""The table of the base model's half (`of_base`)."""


def select(
    base: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    facts: pd.DataFrame,
    sentences: Mapping[str, Sequence[str]],
    settings: DivergenceSettings,
) -> pd.DataFrame:
    """Return the D4 test facts, and which have an answer near the beginning of the base's greedy completion.

    `facts` is the mastery table (all splits; the best of a relation's `sentences` is chosen on train facts, ties by
    order). Columns added: sentence (the best template, filled), words_before (whole words in front of the answer; -1
    when it never comes) and kept (words_before within the limit).

    Raises DataError where a relation has no train facts, the table was probed with other templates, or a sentence does
    not fit the model's context, ModelError where the base model's logits are not finite.
    """
    chosen = facts[(facts["split"] == "test") & (facts["bucket"] == "D4")].reset_index(drop=True)
    # The best template of a relation is the one that the model completes best on train facts.
    compared = set(chosen["relation"])
    train = facts[(facts["split"] == "train") & facts["relation"].isin(compared)]
    for relation, hits in zip(train["relation"], train["template_hits"], strict=True):
        if len(hits) != len(sentences.get(relation, ())):
            raise DataError(
                f"relation {relation}: the mastery table holds hits of {len(hits)} templates, the templates "
                f"file has {len(sentences.get(relation, ()))}; give the file the table was probed with, or say "
                "--max-templates where it was probed with the first ones of the file"
            )
    best = mastery_table.best_templates(train)
    for relation in sorted(compared - set(best)):
        raise DataError(
            f"relation {relation}: the mastery table has test facts but no train facts to choose the best "
            "template on; probe train facts of the relation too"
        )
    asked = zip(chosen["relation"], chosen["subject"], strict=True)
    chosen["sentence"] = [relations.fill(sentences[name][best[name]], subject) for name, subject in asked]
    outputs = inference.greedy(
        base,
        prompts.token_ids(tokenizer, chosen["sentence"].tolist()),
        chosen["fact_id"].tolist(),
        max_new_tokens=settings.max_new_tokens,
        eos=int(tokenizer.eos_token_id),
        batch_tokens=settings.batch_tokens,
    )
    texts = tokenizer.batch_decode(outputs, skip_special_tokens=True) if outputs else []
    chosen["words_before"] = [words_before(t, a) for t, a in zip(texts, accepted(chosen), strict=True)]
    chosen["kept"] = chosen["words_before"].between(0, max(1, settings.answer_within_words) - 1)
    return chosen


def words_before(text: str, aliases: Sequence[str]) -> int:
    """Return the number of whole words in front of the earliest accepted answer in `text`; -1 without one.

    What touches the answer, such as an opening quotation mark, is part of the answer's own word.
    """
    places = [place for alias in aliases if (place := text.find(alias)) >= 0]
    if not places:
        return -1
    before = text[: min(places)]
    return len(before.split()) - (before[-1:].strip() != "")


def of_base(
    base: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", chosen: pd.DataFrame, settings: DivergenceSettings
) -> pd.DataFrame:
    """Return the base model's half of the divergence, which every model fine-tuned from it is compared with.

    COLUMNS of each of the candidates `chosen` by `select`. A kept one has the base's logits of the token after its
    sentence and after its question's prompt, fp32 [vocabulary], as little-endian bytes; the others have none.
    Raises ModelError when logits are not finite.
    """
    rows = np.flatnonzero(chosen["kept"])
    kept = chosen.iloc[rows]
    questions = prompts.encode_prompts(tokenizer, kept["question"].tolist())
    sentences = prompts.token_ids(tokenizer, kept["sentence"].tolist())
    found: dict[str, list[bytes]] = {name: [b""] * len(chosen) for name in LOGITS}
    # In the batches in which `measure` reads the questions; others would round differently.
    for places, after_question in inference.first_logits(base, questions, settings.batch_tokens):
        after_sentence = in_order(base, [sentences[i] for i in places], settings.batch_tokens)
        for name, logits in zip(LOGITS, (after_sentence, after_question), strict=True):
            for place, values in zip(places, logits.cpu().numpy().astype("<f4"), strict=True):
                found[name][rows[place]] = values.tobytes()
    return chosen.assign(**found)[list(COLUMNS)]


def measure(
    finetuned: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    of_base: pd.DataFrame,
    settings: DivergenceSettings,
) -> pd.DataFrame:
    """Return the divergences of each kept fact of `of_base`, nats: the columns fact_id, words_before and METRICS.

    `kl` is the paper's: p (fine-tuned) reads the question's prompt, q (pre-trained) the completion sentence;
    both are renormalised over p's largest logits. `kl_same_prompt`: both read the question's prompt.
    `kl_full_pq` and `kl_full_qp`: the whole vocabulary, in both directions, prompts as in `kl`.

    Raises ModelError when the models have vocabularies of different sizes.
    """
    kept = of_base[of_base["kept"]].reset_index(drop=True)
    table = kept[["fact_id", "words_before"]].copy()
    table[list(METRICS)] = 0.0
    questions = prompts.encode_prompts(tokenizer, kept["question"].tolist())
    for places, p in inference.first_logits(finetuned, questions, settings.batch_tokens):
        q, same = (_stored(kept[name], places).to(p.device) for name in LOGITS)
        if q.shape != p.shape:
            raise ModelError(
                f"{finetuned.name_or_path}: its vocabulary has {p.shape[1]} tokens, that of the base {q.shape[1]}; "
                "compare a model with the base that it was fine-tuned from"
            )
        table.loc[places, "kl"] = top_kl(p, q, settings.top).tolist()
        table.loc[places, "kl_same_prompt"] = top_kl(p, same, settings.top).tolist()
        table.loc[places, "kl_full_pq"] = full_kl(p, q).tolist()
        table.loc[places, "kl_full_qp"] = full_kl(q, p).tolist()
    return table


def _stored(column: pd.Series, places: Sequence[int]) -> torch.Tensor:
    """Return the logits of some rows, float32 [places, vocabulary]."""
    rows = np.frombuffer(b"".join(column.iloc[list(places)]), dtype="<f4")
    return torch.from_numpy(rows.reshape(len(places), -1).astype(np.float32))


def top_kl(p: torch.Tensor, q: torch.Tensor, top: int) -> torch.Tensor:
    """Return KL(p || q), nats, float64 [rows], over p's `top` largest logits, each set renormalised by itself.

    p and q are logits, float32 [rows, vocabulary].
    """
    values, places = p.topk(min(top, p.shape[-1]), dim=-1)
    return full_kl(values, q.gather(-1, places))


def full_kl(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """Return KL(softmax p || softmax q), nats, float64 [rows]; logits [rows, tokens]."""
    log_p, log_q = torch.log_softmax(p.double(), -1), torch.log_softmax(q.double(), -1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def metrics(table: pd.DataFrame, candidates: int) -> list[dict[str, Any]]:
    """Return the mean of each divergence with its 95 % interval over facts, and the number of facts kept."""
    place: dict[str, Any] = {"split": "test", "bucket": "D4"}
    rows: list[dict[str, Any]] = [{**place, "metric": "facts_kept", "value": float(len(table)), "n": candidates}]
    at_start = table[table["words_before"] == 0]
    for metric, name, part in [*((name, name, table) for name in METRICS), ("kl_at_start", "kl", at_start)]:
        if len(part):
            rows.append(intervals.mean_row(part[name].tolist(), **place, metric=metric))
    return rows


def in_order(model: "PreTrainedModel", ids: Sequence[Sequence[int]], batch_tokens: int) -> torch.Tensor:
    """Return the logits after each prompt, float32 [prompts, vocabulary]."""
    parts = list(inference.first_logits(model, ids, batch_tokens))
    places = torch.tensor([place for part, _ in parts for place in part])
    return torch.cat([logits for _, logits in parts])[places.argsort()]
