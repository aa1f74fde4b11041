"""Greedy decoding."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from sftlens.inference import forward, slots
from sftlens.inference.forward import Batch, batches, check_prompts

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_ROWS = 64
"""Rows whose logits are converted for numpy at once, on a CPU."""


@torch.inference_mode()
def greedy(
    model: "PreTrainedModel",
    prompts: Sequence[Sequence[int]],
    fact_ids: Sequence[object] | None = None,
    *,
    max_new_tokens: int,
    eos: int | Sequence[int],
    batch_tokens: int,
    progress: Callable[[int], object] = lambda rows: None,
) -> list[list[int]]:
    """Return each prompt's greedy continuation, token ids; one that ended has an EOS as its last id.

    `batch_tokens` tokens of prompts and continuations are held side by side. `fact_ids` are what errors call the
    prompts; `progress` is called with the number of finished ones. Raises DataError where a prompt does not fit the
    model's context, ModelError where a token is not in its vocabulary, or its logits are NaN or Inf.
    """
    check_prompts(prompts, max_new_tokens, model, fact_ids)
    outputs: list[list[int]] = [[] for _ in prompts]
    for batch in batches(prompts, batch_tokens, max_new_tokens, mixed=forward.may_mix(model)):
        for index, row in zip(batch.indices, _decode(model, batch, max_new_tokens, eos, fact_ids), strict=True):
            outputs[index] = row[row >= 0].tolist()
        progress(len(batch.indices))
    return outputs


def _decode(
    model: "PreTrainedModel",
    batch: Batch,
    steps: int,
    eos: int | Sequence[int],
    fact_ids: Sequence[object] | None,
) -> np.ndarray:
    """Return the new tokens of a batch, int64 [rows, steps], -1 after the end."""
    new = np.full((len(batch.indices), steps), -1)
    rows = np.arange(len(batch.indices))
    room = slots.slots_for(model, 0, len(rows), batch.longest + steps) if forward.may_mix(model) else None
    state: forward.State | slots.Slots

    def fact_of(damaged: list[int]) -> str:
        return f"fact {fact_ids[min(batch.indices[rows[i]] for i in damaged)]!r}: " if fact_ids else ""

    logits, state = forward.prefill(model, batch)
    for step in range(steps):
        # A NaN counts as the largest logit, and is refused. On a CPU, numpy finds the largest ten times faster.
        on_cpu = logits.device.type == "cpu"
        tokens = torch.cat([_largest(part) for part in logits.split(_ROWS)]) if on_cpu else logits.argmax(-1)
        forward.refuse_damaged(model, logits.gather(1, tokens[:, None]), fact_of)
        new[rows, step] = tokens.cpu().numpy()
        alive = np.flatnonzero(~np.isin(new[rows, step], eos))
        if step + 1 == steps or not len(alive):
            break
        if len(alive) < len(rows):
            alive = alive[forward.staying(alive)]
            rows, tokens = rows[alive], tokens[forward.sent(torch.from_numpy(alive), tokens.device)]
        logits, state = slots.read_on(model, state, alive, tokens, room)
    return new


def _largest(logits: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(logits.float().numpy().argmax(-1))


def ends(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Return the tokens at which a model stops in use: the tokenizer's EOS and those of its generation settings.

    A chat model may end its turn with another token than its texts.
    """
    named = getattr(model.generation_config, "eos_token_id", None)
    more = named if isinstance(named, list) else [named]
    return sorted({int(token) for token in (tokenizer.eos_token_id, *more) if token is not None})
