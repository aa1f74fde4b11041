"""The model's steps: which prompts it reads side by side, one more token of each, the rows that go on."""

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sftlens.errors import DataError, ModelError
from sftlens.inference import kv_cache

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_WORTH_A_STEP = 100
"""Tokens that must be spared for a part of a batch to be computed in two steps."""
_CPU_TOKENS = 4096
"""Prompt tokens of one step on a CPU; more fall out of its caches."""


@dataclass(frozen=True)
class Batch:
    """Prompts that are computed side by side."""

    indices: list[int]
    """Indices in the caller's list."""
    parts: list[torch.Tensor]
    """Token ids, int64 [rows, length], one tensor for each length, in the order of `indices`."""

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt."""
        return max(part.shape[1] for part in self.parts)


def batches(
    prompts: Sequence[Sequence[int]], batch_tokens: int, new_tokens: int = 0, *, mixed: bool = False
) -> Iterator[Batch]:
    """Put prompts into batches, shortest first, shared prefixes side by side.

    A batch has one prompt, or at most `batch_tokens` tokens, where each row counts as the longest one and `new_tokens`
    more. Its prompts are of one length, or `mixed`. The batches depend on nothing but the arguments.
    """
    order = sorted(range(len(prompts)), key=lambda index: (len(prompts[index]), prompts[index]))
    indices: list[int] = []
    for index in order:
        length = len(prompts[index])
        full = (len(indices) + 1) * (length + new_tokens) > batch_tokens
        if indices and (full or not (mixed or len(prompts[indices[-1]]) == length)):
            yield Batch(indices, _parts(prompts, indices))
            indices = []
        indices.append(index)
    if indices:
        yield Batch(indices, _parts(prompts, indices))


def _parts(prompts: Sequence[Sequence[int]], indices: list[int]) -> list[torch.Tensor]:
    groups = itertools.groupby((prompts[index] for index in indices), key=len)
    return [torch.tensor(list(group), dtype=torch.int64) for _, group in groups]


def check_prompts(
    prompts: Sequence[Sequence[int]],
    new_tokens: int,
    model: "PreTrainedModel",
    fact_ids: Sequence[object] | None = None,
) -> None:
    """Refuse prompts that do not fit the model's context together with `new_tokens` new ones, or its vocabulary.

    Raises DataError where one is empty or too long, naming the fact of the longest one where there are `fact_ids`,
    ModelError where a token id has no row in the embedding.
    """
    config = model.config.get_text_config()
    limit, vocabulary = config.max_position_embeddings, config.vocab_size
    sizes = [len(prompt) for prompt in prompts]
    too_long = [i for i, size in enumerate(sizes) if size + new_tokens > limit]
    if too_long:
        worst = max(too_long, key=sizes.__getitem__)
        others = f" (and {len(too_long) - 1} more facts)" if len(too_long) > 1 else ""
        fact = f"fact {fact_ids[worst]!r}{others}: " if fact_ids else ""
        raise DataError(
            f"{fact}a prompt of {sizes[worst]} tokens and {new_tokens} new ones do not fit the model's context of "
            f"{limit} (max_position_embeddings in {model.name_or_path}/config.json); take the fact out of the facts, "
            "lower max_new_tokens, or use shorter templates or fewer shots"
        )
    if not all(sizes):
        raise DataError("a prompt has no token at all; take facts with empty texts out")
    largest = max((max(p) for p in prompts), default=0)
    if largest >= vocabulary:
        raise ModelError(
            f"{model.name_or_path}: token id {largest} lies outside the model's vocabulary of {vocabulary}; use the "
            "tokenizer that belongs to the model"
        )


@dataclass(frozen=True)
class State:
    """What a model has read of each row."""

    cache: Any
    """Keys and values; rows shorter than the longest are padded on the left."""
    lengths: torch.Tensor | None = None
    """Tokens of each row, int64 [rows]; None where all rows are equally long."""
    mask: torch.Tensor | None = None
    """1 for a token, 0 for padding, int64 [rows, tokens of the longest]; None where there is no padding."""

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.cache.layers[0].keys)


@torch.inference_mode()
def first_logits(
    model: "PreTrainedModel", prompts: Sequence[Sequence[int]], batch_tokens: int
) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Yield (indices, fp32 logits [rows, vocabulary]) of the token after each prompt."""
    check_prompts(prompts, 1, model)
    for batch in batches(prompts, batch_tokens, 1):
        logits = torch.cat([_read(model, part).logits[:, -1].float() for part in _chunks(batch, model.device)])
        refuse_damaged(model, logits)
        yield batch.indices, logits


def may_mix(model: "PreTrainedModel") -> bool:
    """Whether prompts of different lengths may decode side by side: every layer keeps all keys and values."""
    from transformers.cache_utils import DynamicCache, DynamicLayer

    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)


def prefill(model: "PreTrainedModel", batch: Batch) -> tuple[torch.Tensor, State]:
    """Read a batch of prompts; return the logits [rows, vocabulary] of their next tokens, and the state.

    The logits are of the type that the model computes in: to convert all at once takes memory and time (`drawing`).
    """
    if model.device.type != "cpu" and len(batch.parts) > 1:
        return _read_padded(model, batch)
    parts = _chunks(batch, model.device)
    results = [_read(model, part) for part in parts]
    logits = torch.cat([result.logits[:, -1] for result in results])
    cache = kv_cache.side_by_side([result.past_key_values for result in results])
    if len(batch.parts) == 1:
        return logits, State(cache)
    lengths = torch.cat([torch.full((len(part),), part.shape[1]) for part in parts])
    mask = (torch.arange(batch.longest) >= batch.longest - lengths[:, None]).long()
    return logits, State(cache, lengths.to(model.device), mask.to(model.device))


def _read_padded(model: "PreTrainedModel", batch: Batch) -> tuple[torch.Tensor, State]:
    """Do what `prefill` does in one call of the model, shorter prompts padded on the left.

    A GPU computes the padding in less time than a call for each length takes to launch.
    """
    width, device = batch.longest, model.device
    ids = torch.cat([torch.nn.functional.pad(part, (width - part.shape[1], 0)) for part in batch.parts])
    lengths = torch.cat([torch.full((len(part),), part.shape[1]) for part in batch.parts])
    ids, lengths = sent(ids, device), sent(lengths, device)
    columns = torch.arange(width, device=device)
    mask = columns >= width - lengths[:, None]
    # Padding sees itself: a row of the mask without any token would make it NaN.
    seen = (mask[:, None, :] & (columns[:, None] >= columns)) | (columns[:, None] == columns)
    positions = (columns - (width - lengths[:, None])).clamp(min=0)
    result = model(
        input_ids=ids, attention_mask=seen[:, None], position_ids=positions, use_cache=True, logits_to_keep=1
    )
    return result.logits[:, -1], State(result.past_key_values, lengths, mask.long())


def sent(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a tensor of the main memory on a device; a GPU fetches it when it gets there, and nobody waits."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def _chunks(batch: Batch, device: torch.device) -> list[torch.Tensor]:
    if device.type != "cpu":
        return batch.parts
    return [chunk for part in batch.parts for chunk in part.split(max(1, _CPU_TOKENS // part.shape[1]))]


def _read(model: "PreTrainedModel", part: torch.Tensor) -> Any:
    """Return the model's output after prompts of one length, int64 [rows, length].

    Where many share a prefix, the distinct prefixes are computed first, and the rest of each prompt on them.
    """
    ids = part.to(model.device)
    length, heads = _shared_prefixes(part)
    if not length:
        return model(input_ids=ids, use_cache=True, logits_to_keep=1)
    first = torch.cat([torch.zeros(1, dtype=torch.int64), heads.diff().nonzero().flatten() + 1])
    begun = model(input_ids=ids[first.to(ids.device), :length], use_cache=True, logits_to_keep=1)
    kv_cache.reorder(begun.past_key_values, heads, part.shape[1] - length)
    return model(input_ids=ids[:, length:], past_key_values=begun.past_key_values, use_cache=True, logits_to_keep=1)


def _shared_prefixes(ids: torch.Tensor) -> tuple[int, torch.Tensor]:
    """Return the length of prefixes that leaves the fewest tokens to compute, and each row's prefix, int64 [rows].

    `ids` is int64 [rows, length], rows that begin alike side by side. The length is below that of the rows, 0 where too
    little would be spared.
    """
    rows, length = ids.shape
    alike = (ids[1:] == ids[:-1]).int().cumprod(1).sum(1)
    lengths = torch.arange(length)
    distinct = 1 + (alike[:, None] < lengths).sum(0)
    spared = (rows - distinct) * lengths
    best = int(spared.argmax())
    if int(spared[best]) < _WORTH_A_STEP:
        return 0, lengths[:0]
    return best, torch.cat([lengths[:1], (alike < best).cumsum(0)])


def advance(model: "PreTrainedModel", state: State, tokens: torch.Tensor) -> tuple[torch.Tensor, State]:
    """Read one more token of each row, int64 [rows]; return logits as `prefill` does, and the state."""
    padding: dict[str, torch.Tensor] = {}
    if state.lengths is not None and state.mask is not None:
        mask = torch.cat([state.mask, state.mask.new_ones(len(tokens), 1)], dim=1)
        padding = {"attention_mask": mask, "position_ids": state.lengths[:, None]}
        state = replace(state, lengths=state.lengths + 1, mask=mask)
    result = model(input_ids=tokens[:, None], past_key_values=state.cache, use_cache=True, logits_to_keep=1, **padding)
    return result.logits[:, -1], state


def gather(state: State, rows: torch.Tensor, *, keep: bool = False) -> State:
    """Return the state of some rows (int64, repeats allowed): in place, layer by layer, or beside one to `keep`.

    In place, a row whose number stays the same is not copied (see `staying`).
    """
    cache = state.cache
    if keep:
        cache = copy.copy(cache)
        cache.layers = [copy.copy(layer) for layer in cache.layers]
        cache.reorder_cache(rows)
    else:
        kv_cache.follow(cache, rows)
    if state.lengths is None or state.mask is None:
        return State(cache)
    rows = rows.to(state.mask.device)
    return State(cache, state.lengths[rows], state.mask[rows])


def staying(parents: np.ndarray) -> np.ndarray:
    """Return an order of rows, int [rows], in which most of them stand where the row that they continue stood.

    `parents` is the row that each continues, equal ones side by side. `gather` copies the others: second continuations
    of a row, and rows from behind that fill the places of those that ended.
    """
    rows = len(parents)
    first = np.r_[True, parents[1:] != parents[:-1]][:rows] & (parents < rows)
    order = np.full(rows, -1)
    order[parents[first]] = np.flatnonzero(first)
    order[order < 0] = np.flatnonzero(~first)
    return order


def refuse_damaged(
    model: "PreTrainedModel", values: torch.Tensor, fact_of: Callable[[list[int]], str] = lambda rows: ""
) -> None:
    """Raise ModelError where values, [rows, ...], that came out of the logits are NaN or Inf; `fact_of` names rows."""
    finite = values.isfinite()
    if not bool(finite.all()):
        fact = fact_of((~finite).nonzero()[:, 0].tolist())
        raise ModelError(
            f"{fact}{model.name_or_path}: the model's logits hold NaN or Inf: its weights are damaged or overflow "
            "their type; check the checkpoint, or load it in float32"
        )
