"""Batched generation: greedy decoding, and exact sampling on the tree of distinct prefixes.

Prompts of equal length share a batch, so there is no padding; every prompt is computed once for all its
samples; rows leave the batch when they end; the key-value cache is gathered in place of copying prompts.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sftlens.errors import DataError, ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Batch:
    """Prompts of equal length: their places in the caller's list, their token ids int64 [rows, length]."""

    places: list[int]
    ids: torch.Tensor


def batches(prompts: Sequence[Sequence[int]], batch_tokens: int) -> Iterator[Batch]:
    """Group prompts by length, shortest first, into batches of at most `batch_tokens` tokens, or one row."""
    by_length: dict[int, list[int]] = {}
    for place, prompt in enumerate(prompts):
        by_length.setdefault(len(prompt), []).append(place)
    for length, places in sorted(by_length.items()):
        rows = max(1, batch_tokens // max(1, length))
        for start in range(0, len(places), rows):
            chosen = places[start : start + rows]
            yield Batch(chosen, torch.tensor([prompts[i] for i in chosen], dtype=torch.int64))


def check_prompts(prompts: Sequence[Sequence[int]], new_tokens: int, model: "PreTrainedModel") -> None:
    """Refuse prompts that do not fit the model's context or its vocabulary.

    Raises:
        DataError: a prompt is empty, or too long together with `new_tokens`.
        ModelError: a token id has no row in the embedding.
    """
    limit, vocabulary = model.config.max_position_embeddings, model.config.vocab_size
    longest = max((len(p) for p in prompts), default=0)
    if longest + new_tokens > limit:
        raise DataError(
            f"a prompt of {longest} tokens and {new_tokens} new ones do not fit the model's context of "
            f"{limit}; lower max_new_tokens, or leave the longest questions out"
        )
    if not all(prompts):
        raise DataError("a prompt has no token at all; take facts with empty texts out")
    largest = max((max(p) for p in prompts), default=0)
    if largest >= vocabulary:
        raise ModelError(
            f"token id {largest} lies outside the model's vocabulary of {vocabulary}; use the tokenizer that "
            "belongs to the model"
        )


@torch.inference_mode()
def first_logits(
    model: "PreTrainedModel", prompts: Sequence[Sequence[int]], batch_tokens: int
) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Yield (places, fp32 logits [rows, vocabulary]) of the token after each prompt."""
    check_prompts(prompts, 1, model)
    for batch in batches(prompts, batch_tokens):
        ids = batch.ids.to(model.device)
        yield batch.places, _last_logits(model(input_ids=ids, use_cache=False, logits_to_keep=1))


@torch.inference_mode()
def greedy(
    model: "PreTrainedModel",
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    eos: int,
    batch_tokens: int,
    progress: Callable[[int], object] = lambda rows: None,
) -> list[list[int]]:
    """Return each prompt's greedy continuation, token ids; one that ended has EOS as its last id."""
    check_prompts(prompts, max_new_tokens, model)
    outputs: list[list[int]] = [[] for _ in prompts]
    for batch in batches(prompts, batch_tokens):
        for tokens, places in _greedy_batch(model, batch, max_new_tokens, eos):
            for place, token in zip(places, tokens, strict=True):
                outputs[place].append(token)
        progress(len(batch.places))
    return outputs


def _greedy_batch(
    model: "PreTrainedModel", batch: Batch, max_new_tokens: int, eos: int
) -> Iterator[tuple[list[int], list[int]]]:
    """Yield the next tokens and the places they belong to, step by step."""
    places = np.array(batch.places)
    result = _prefill(model, batch)
    for step in range(max_new_tokens):
        tokens = _last_logits(result).argmax(-1)
        yield tokens.tolist(), places.tolist()
        alive = (tokens != eos).nonzero().flatten()
        if step + 1 == max_new_tokens or not len(alive):
            return
        if len(alive) < len(tokens):
            places, tokens = places[alive.cpu().numpy()], tokens[alive]
            result.past_key_values.batch_select_indices(alive)
        result = _advance(model, result.past_key_values, tokens)


def _prefill(model: "PreTrainedModel", batch: Batch) -> Any:
    return model(input_ids=batch.ids.to(model.device), use_cache=True, logits_to_keep=1)


def _advance(model: "PreTrainedModel", cache: Any, tokens: torch.Tensor) -> Any:
    return model(input_ids=tokens[:, None], past_key_values=cache, use_cache=True, logits_to_keep=1)


@dataclass
class _Tree:
    """The distinct unfinished prefixes of a batch; several samples of a prompt may share one."""

    prompt: np.ndarray
    """int [rows]: the prompt of each prefix, as a place in the batch."""
    samples: list[np.ndarray]
    """For each prefix the numbers of the samples that share it."""
    tokens: list[list[int]]
    """For each prefix its new tokens."""

    def only(self, rows: Sequence[int]) -> "_Tree":
        """Return the tree of some of the prefixes."""
        return _Tree(self.prompt[rows], [self.samples[row] for row in rows], [self.tokens[row] for row in rows])


@torch.inference_mode()
def sample_hits(
    model: "PreTrainedModel",
    prompts: Sequence[Sequence[int]],
    streams: Sequence[bytes],
    found: Callable[[int, list[int]], bool],
    *,
    samples: int,
    temperature: float,
    max_new_tokens: int,
    eos: int,
    batch_tokens: int,
    progress: Callable[[int], object] = lambda rows: None,
) -> np.ndarray:
    """Return how many of `samples` sampled continuations of each prompt contain what is looked for.

    Every sample draws its own tokens from its own uniform numbers; equal prefixes are merely computed once.
    So the distribution is that of plain ancestral sampling, and no result depends on the order or the cut of
    the work.

    Args:
        model: causal language model.
        prompts: token ids.
        streams: sixteen bytes for each prompt that seed its uniform numbers.
        found: (prompt, new tokens) -> whether these tokens contain the answer; asked after each new token.
        samples, temperature, max_new_tokens: how many continuations, how random, how long.
        eos: token that ends a continuation.
        batch_tokens: prompt tokens computed side by side, counted once for each sample: as many as `samples`
            rows may grow out of one prompt.
        progress: called with the number of finished prompts.

    Returns:
        int64 [prompts].
    """
    check_prompts(prompts, max_new_tokens, model)
    hits = np.zeros(len(prompts), dtype=np.int64)
    for batch in batches(prompts, batch_tokens // samples):
        uniforms = np.stack([_uniforms(streams[i], samples, max_new_tokens) for i in batch.places])
        for place, count in _sample_batch(model, batch, uniforms, found, temperature, eos):
            hits[place] += count
        progress(len(batch.places))
    return hits


def _sample_batch(
    model: "PreTrainedModel",
    batch: Batch,
    uniforms: np.ndarray,
    found: Callable[[int, list[int]], bool],
    temperature: float,
    eos: int,
) -> Iterator[tuple[int, int]]:
    """Yield (place of a prompt, number of samples) for each prefix that contains what is looked for.

    `uniforms` is float64 [prompts, samples, steps]. A prefix that contains it is followed no further.
    """
    prompts, samples, steps = uniforms.shape
    tree = _Tree(np.arange(prompts), [np.arange(samples)] * prompts, [[] for _ in range(prompts)])
    result = _prefill(model, batch)
    for step in range(steps):
        probabilities = torch.softmax(_last_logits(result) / temperature, dim=-1)
        parents, tree = _grow(tree, probabilities, uniforms[:, :, step], eos)
        open_rows = []
        for row, (prompt, tokens) in enumerate(zip(tree.prompt, tree.tokens, strict=True)):
            if found(batch.places[prompt], tokens):
                yield batch.places[prompt], len(tree.samples[row])
            else:
                open_rows.append(row)
        if not open_rows or step + 1 == steps:
            return
        tree = tree.only(open_rows)
        result.past_key_values.batch_select_indices(torch.from_numpy(parents[open_rows]).to(model.device))
        last = torch.tensor([tokens[-1] for tokens in tree.tokens], device=model.device)
        result = _advance(model, result.past_key_values, last)


def _grow(tree: _Tree, probabilities: torch.Tensor, uniforms: np.ndarray, eos: int) -> tuple[np.ndarray, _Tree]:
    """Draw the next token of every sample; return the parent row of each new prefix and the new tree.

    Inverse transform: sample i takes the first token whose cumulative probability exceeds its uniform number.
    """
    counts = np.array([len(s) for s in tree.samples])
    rows = np.repeat(np.arange(len(counts)), counts)
    numbers = np.concatenate(tree.samples)
    starts = np.cumsum(counts) - counts
    draws = np.zeros((len(counts), counts.max()))
    columns = np.arange(len(rows)) - starts[rows]
    draws[rows, columns] = uniforms[tree.prompt[rows], numbers]
    cumulative = probabilities.cumsum(-1, dtype=torch.float64)
    # Scaled by the last sum, which rounding leaves a little off 1.
    targets = torch.from_numpy(draws).to(cumulative.device) * cumulative[:, -1:]
    found = torch.searchsorted(cumulative, targets, right=True).clamp_(max=cumulative.shape[1] - 1)
    drawn = found.cpu().numpy()[rows, columns]
    order = np.lexsort((numbers, drawn, rows))
    rows, drawn, numbers = rows[order], drawn[order], numbers[order]
    first = np.flatnonzero(np.r_[True, (rows[1:] != rows[:-1]) | (drawn[1:] != drawn[:-1])])
    groups = np.split(numbers, first[1:])
    alive = [i for i, start in enumerate(first) if drawn[start] != eos]
    parents = rows[first][alive]
    tokens = [[*tree.tokens[rows[first[i]]], int(drawn[first[i]])] for i in alive]
    return parents, _Tree(tree.prompt[parents], [groups[i] for i in alive], tokens)


def _uniforms(stream: bytes, samples: int, steps: int) -> np.ndarray:
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(stream, "little")))
    return generator.random((samples, steps))


def _last_logits(result: Any) -> torch.Tensor:
    logits: torch.Tensor = result.logits[:, -1].float()
    if not bool(logits.isfinite().all()):
        raise ModelError(
            "the model's logits hold NaN or Inf: its weights are damaged or overflow their type; check the "
            "checkpoint, or load it in float32"
        )
    return logits
