"""Which prompts are computed side by side, and which cannot be computed at all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from sftlens.errors import DataError, ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Batch:
    """Prompts of equal length: their places in the caller's list, their token ids int64 [rows, length]."""

    places: list[int]
    ids: torch.Tensor


def batches(prompts: Sequence[Sequence[int]], batch_tokens: int, new_tokens: int = 0) -> Iterator[Batch]:
    """Group prompts by length, shortest first, equal beginnings side by side.

    A batch has one row, or at most `batch_tokens` tokens, the `new_tokens` of each row counted in. The batches depend
    on nothing but the arguments.
    """
    order = sorted(range(len(prompts)), key=lambda place: (len(prompts[place]), prompts[place]))
    start = 0
    while start < len(order):
        length = len(prompts[order[start]])
        rows = max(1, batch_tokens // max(1, length + new_tokens))
        places = [place for place in order[start : start + rows] if len(prompts[place]) == length]
        yield Batch(places, torch.tensor([prompts[place] for place in places], dtype=torch.int64))
        start += len(places)


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
