"""Greedy answers to facts: what the model fails on is named by its fact."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sftlens import inference
from sftlens.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


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
    inference.check_prompts(prompts, max_new_tokens, model, fact_ids)

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
        raise ModelError(f"{fact}{error}") from None


def ends(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Return the tokens at which a model stops in use: the tokenizer's EOS and those of its generation settings.

    A chat model may end its turn with another token than its texts.
    """
    named = getattr(model.generation_config, "eos_token_id", None)
    more = named if isinstance(named, list) else [named]
    return sorted({int(token) for token in (tokenizer.eos_token_id, *more) if token is not None})
