"""The model's steps: a batch of prompts, one more token, the cache of the rows that go on."""

import copy
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from sftlens.errors import ModelError
from sftlens.generation.batching import Batch, batches, check_prompts

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_WORTH_A_STEP = 100
"""Tokens that must be spared for a batch of prompts to be computed in two steps."""


@torch.inference_mode()
def first_logits(
    model: "PreTrainedModel", prompts: Sequence[Sequence[int]], batch_tokens: int
) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Yield (places, fp32 logits [rows, vocabulary]) of the token after each prompt."""
    check_prompts(prompts, 1, model)
    for batch in batches(prompts, batch_tokens, 1):
        logits = last_logits(prefill(model, batch))
        refuse_damaged(logits)
        yield batch.places, logits


def prefill(model: "PreTrainedModel", batch: Batch) -> Any:
    """Return the model's output after the prompts: logits of the next token, and the cache.

    Where many prompts begin alike, their distinct beginnings are computed first, and the rest of each prompt on them.
    """
    ids = batch.ids.to(model.device)
    length, heads = _beginnings(batch.ids)
    if not length:
        return model(input_ids=ids, use_cache=True, logits_to_keep=1)
    first = torch.cat([torch.zeros(1, dtype=torch.int64), heads.diff().nonzero().flatten() + 1])
    begun = model(input_ids=ids[first.to(ids.device), :length], use_cache=True, logits_to_keep=1)
    return _continue(model, gather(begun.past_key_values, heads), ids[:, length:])


def _beginnings(ids: torch.Tensor) -> tuple[int, torch.Tensor]:
    """Return the length of beginnings that leaves the fewest tokens to compute, and each row's beginning.

    Args:
        ids: int64 [rows, length], rows that begin alike side by side.

    Returns:
        A length below that of the rows, 0 where too little would be spared; int64 [rows], numbers of the beginnings.
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


def advance(model: "PreTrainedModel", cache: Any, tokens: torch.Tensor) -> Any:
    """Return the model's output after one more token of each row, int64 [rows]."""
    return _continue(model, cache, tokens[:, None])


def _continue(model: "PreTrainedModel", cache: Any, ids: torch.Tensor) -> Any:
    return model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)


def gather(cache: Any, rows: torch.Tensor, *, keep: bool = False) -> Any:
    """Return the cache of some rows (int64, repeats allowed): in place, layer by layer, or beside a cache to `keep`."""
    if keep:
        cache, layers = copy.copy(cache), cache.layers
        cache.layers = [copy.copy(layer) for layer in layers]
    cache.reorder_cache(rows)
    return cache


def last_logits(result: Any) -> torch.Tensor:
    """Return the fp32 logits [rows, vocabulary] of the next token."""
    logits: torch.Tensor = result.logits[:, -1].float()
    return logits


def refuse_damaged(values: torch.Tensor) -> None:
    """Raise ModelError where values that came out of the logits are NaN or Inf."""
    if not bool(values.isfinite().all()):
        raise ModelError(
            "the model's logits hold NaN or Inf: its weights are damaged or overflow their type; check the "
            "checkpoint, or load it in float32"
        )
