"""Which prompts are computed side by side, and which cannot be computed at all."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from sftlens.errors import DataError, ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


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
