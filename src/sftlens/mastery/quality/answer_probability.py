"""The teacher-forced probability of a fact's answer: a companion of mastery that needs no sampling.

For each fact and completion template, the probability (temperature 1) that the model continues the sentence with
the answer at once: exp of the sum of the log-probabilities of the answer's tokens. Of several accepted answers the most
probable counts: one may begin another ("New York", "New York City"), so their sum would count some completions twice.
Mastery asks for more and for less: the answer anywhere in the completion, at a temperature below 1. So the two need not
be equal, and `calibration` says how they are related.

Tokens: sentence, a space and answer are encoded as one string, as text is. Where the sentence's own ids begin these,
the rest is the answer; where the tokenizer joins the end of the sentence with what follows, their longest common
prefix is the prompt, and the rest of the sentence is scored with the answer.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from sftlens import inference
from sftlens.data import relations
from sftlens.data.scoring import accepted
from sftlens.inference import forward
from sftlens.inference.prompts import token_ids
from sftlens.mastery.completions import Probe
from sftlens.statistics import correlations, intervals

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BINS = 10


def probabilities(probe: Probe, facts: pd.DataFrame, temperature: float = 1.0) -> pd.DataFrame:
    """Return the probability of each fact's answer at a temperature.

    Of the probe's settings only the token budget counts, for speed and memory. `facts` has the columns fact_id,
    relation, subject and aliases (or object, where there are no aliases), the result fact_id, answer_probability
    (float64 in [0, 1], the mean over templates) and template_probabilities (list of float, in the order of the
    templates).
    """
    model, tokenizer, sentences = probe.model, probe.tokenizer, probe.sentences
    rows = zip(facts["relation"], facts["subject"], accepted(facts), strict=True)
    asked = [
        (relations.fill(sentence, subject), answer, fact, template)
        for fact, (relation, subject, answers) in enumerate(rows)
        for template, sentence in enumerate(sentences[relation])
        for answer in answers
    ]
    starts = token_ids(tokenizer, [text for text, *_ in asked])
    wholes = token_ids(tokenizer, [f"{text} {answer}" for text, answer, *_ in asked])
    # Distinct prompts, each with its continuations: (token ids, fact, template).
    listed: dict[tuple[int, ...], list[tuple[list[int], int, int]]] = {}
    for (_, _, fact, template), start, whole in zip(asked, starts, wholes, strict=True):
        length = shared_prefix(start, whole)
        listed.setdefault(tuple(whole[:length]), []).append((whole[length:], fact, template))
    prompts, continuations = [list(prompt) for prompt in listed], list(listed.values())
    longest = max((len(tokens) for of in continuations for tokens, *_ in of), default=0)
    inference.check_prompts(prompts, longest, model)
    best = [np.zeros(len(sentences[relation])) for relation in facts["relation"]]
    for batch in inference.batches(prompts, probe.settings.batch_tokens, longest, mixed=forward.may_mix(model)):
        found = [(row, *of) for row, prompt in enumerate(batch.indices) for of in continuations[prompt]]
        owners, scored = [row for row, *_ in found], [tokens for _, tokens, *_ in found]
        scores = _score_batch(model, batch, owners, scored, temperature)
        for score, (*_, fact, template) in zip(scores, found, strict=True):
            best[fact][template] = max(best[fact][template], float(np.exp(score)))
        probe.progress(len(batch.indices))
    return pd.DataFrame(
        {
            "fact_id": facts["fact_id"].tolist(),
            "answer_probability": [float(row.mean()) for row in best],
            "template_probabilities": [row.tolist() for row in best],
        }
    )


def shared_prefix(sentence: Sequence[int], whole: Sequence[int]) -> int:
    """Return how many ids the encoded sentence and the encoded `sentence answer` begin with alike."""
    pairs = zip(sentence, whole, strict=False)
    return next((i for i, (first, second) in enumerate(pairs) if first != second), min(len(sentence), len(whole)))


def calibration(probability: np.ndarray, mastery: np.ndarray) -> list[dict[str, Any]]:
    """Return how the probability of the answer is related to mastery, as rows of metrics; float [facts] each.

    `mastery_by_probability`: the mean of R in ten bins of the probability (`bucket`: "probability 0.1-0.2"), with its
    interval; `probability_in_bin`, the mean probability there. `probability_spearman`; `probability_brier`, the mean of
    (probability - R)^2; `probability_ece`, the expected calibration error, the mean over facts of
    |mean probability - mean R| of their bin (Naeini et al., AAAI 2015). No facts, no rows.
    """
    if not len(mastery):
        return []
    place = np.minimum((probability * BINS).astype(int), BINS - 1)
    rows: list[dict[str, Any]] = []
    error = 0.0
    for number in sorted(set(place.tolist())):
        inside = place == number
        where = {"bucket": f"probability {number / BINS:g}-{(number + 1) / BINS:g}"}
        row = intervals.mean_row(mastery[inside].tolist(), share=True, metric="mastery_by_probability", **where)
        mean = float(probability[inside].mean())
        error += abs(mean - row["value"]) * row["n"] / len(mastery)
        rows += [row, {"metric": "probability_in_bin", "value": mean, "n": row["n"], **where}]
    squares, count = ((probability - mastery) ** 2).tolist(), len(mastery)
    return [
        *rows,
        *correlations.row("probability_spearman", correlations.spearman(probability, mastery), count),
        intervals.mean_row(squares, share=True, metric="probability_brier"),
        {"metric": "probability_ece", "value": float(error), "n": count},
    ]


@torch.inference_mode()
def _score_batch(
    model: "PreTrainedModel",
    batch: inference.Batch,
    owners: Sequence[int],
    tokens: Sequence[Sequence[int]],
    temperature: float,
) -> list[float]:
    """Return the log-probabilities of continuations, each of the prompt that owns it.

    Token by token on the state of the prompts, which are computed once for all their continuations; one that is
    finished leaves the batch.
    """
    scores = np.zeros(len(tokens))
    alive, parents = list(range(len(tokens))), torch.tensor(owners)
    logits, state = forward.prefill(model, batch)
    for step in range(max(map(len, tokens))):
        read = torch.tensor([tokens[i][step] for i in alive])
        logs = torch.log_softmax(logits.float() / temperature, dim=-1)
        found = logs[parents.to(logs.device), read.to(logs.device)]
        forward.refuse_damaged(model, found.exp())
        scores[alive] += found.double().cpu().numpy()
        going = [row for row, i in enumerate(alive) if len(tokens[i]) > step + 1]
        if not going:
            break
        kept = torch.tensor(going)
        state = forward.gather(state, parents[kept])
        logits, state = forward.advance(model, state, read[kept].to(model.device))
        alive, parents = [alive[row] for row in going], torch.arange(len(kept))
    return [float(score) for score in scores]
