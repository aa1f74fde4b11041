"""Prompt checks: what does not fit a model is refused beforehand, what fails is named by model and fact."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from sftlens import inference
from sftlens.errors import DataError, ModelError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

T = TypeVar("T")


def require_context(
    model: "PreTrainedModel", prompts: Sequence[Sequence[int]], fact_ids: Sequence[object], new_tokens: int
) -> None:
    """Refuse prompts (token ids, one a fact) that exceed the model's context together with `new_tokens` new ones.

    Raises DataError, which names the fact with the longest prompt and the number of the others.
    """
    limit = model.config.max_position_embeddings
    sizes = [len(prompt) for prompt in prompts]
    too_long = [i for i, size in enumerate(sizes) if size + new_tokens > limit]
    if not too_long:
        return
    worst = max(too_long, key=sizes.__getitem__)
    others = f" (and {len(too_long) - 1} more facts)" if len(too_long) > 1 else ""
    raise DataError(
        f"fact {fact_ids[worst]!r}{others}: a prompt of {sizes[worst]} tokens and {new_tokens} new ones do not fit the "
        f"model's context of {limit} (max_position_embeddings in {model.name_or_path}/config.json); take the fact out "
        "of the facts, lower max_new_tokens, or use shorter templates or fewer shots"
    )


def greedy(
    model: "PreTrainedModel",
    prompts: Sequence[Sequence[int]],
    fact_ids: Sequence[object],
    *,
    max_new_tokens: int,
    eos: int | Sequence[int],
    batch_tokens: int,
    progress: Callable[[int], object] = lambda rows: None,
) -> list[list[int]]:
    """Return the greedy continuation of each fact's prompt, as `inference.greedy` does.

    Raises:
        DataError: a prompt does not fit the context; names the fact.
        ModelError: the logits of some prompt are not finite; names the model's folder and a fact.
    """
    require_context(model, prompts, fact_ids, max_new_tokens)

    def decode(rows: Sequence[int], progress: Callable[[int], object] = lambda rows: None) -> list[list[int]]:
        chosen = [prompts[i] for i in rows]
        return inference.greedy(
            model, chosen, max_new_tokens=max_new_tokens, eos=eos, batch_tokens=batch_tokens, progress=progress
        )

    def fails(rows: Sequence[int]) -> bool:
        try:
            decode(rows)
        except ModelError:
            return True
        return False

    rows: Sequence[int] = range(len(prompts))
    try:
        return decode(rows, progress)
    except ModelError as error:
        # One prompt that the model fails on by itself is found by halving, where there is one.
        while len(rows) > 1:
            half = len(rows) // 2
            rows = rows[:half] if fails(rows[:half]) else rows[half:]
        fact = f"fact {fact_ids[rows[0]]!r}: " if fails(rows) else ""
        raise ModelError(f"{model.name_or_path}: {fact}{error}") from None


def ends(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Return the tokens at which a model stops in use: the tokenizer's EOS and those of its generation settings.

    A chat model may end its turn with another token than its texts.
    """
    named = getattr(model.generation_config, "eos_token_id", None)
    more = named if isinstance(named, list) else [named]
    return sorted({int(token) for token in (tokenizer.eos_token_id, *more) if token is not None})


def first_logits(
    model: "PreTrainedModel", prompts: Sequence[Sequence[int]], batch_tokens: int
) -> Iterator[tuple[list[int], "torch.Tensor"]]:
    """Yield what `inference.first_logits` does; its ModelError names the model's folder."""
    yield from named(model, inference.first_logits(model, prompts, batch_tokens))


def named(model: "PreTrainedModel", results: Iterator[T]) -> Iterator[T]:
    """Yield the results; a ModelError on the way to them names the model's folder."""
    try:
        yield from results
    except ModelError as error:
        raise ModelError(f"{model.name_or_path}: {error}") from None
