"""Greedy decoding."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from sftlens.inference import forward, slots
from sftlens.inference.batching import Batch, batches, check_prompts

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@torch.inference_mode()
def greedy(
    model: "PreTrainedModel",
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    eos: int | Sequence[int],
    batch_tokens: int,
    progress: Callable[[int], object] = lambda rows: None,
) -> list[list[int]]:
    """Return each prompt's greedy continuation, token ids; one that ended has an EOS as its last id.

    Args:
        model: causal language model.
        prompts: token ids.
        max_new_tokens: longest continuation.
        eos: token that ends a continuation, or several of them.
        batch_tokens: tokens of prompts and continuations held side by side.
        progress: called with the number of finished prompts.

    Raises:
        DataError: a prompt does not fit the model's context.
        ModelError: a token is not in the model's vocabulary, or its logits are NaN or Inf.
    """
    check_prompts(prompts, max_new_tokens, model)
    outputs: list[list[int]] = [[] for _ in prompts]
    for batch in batches(prompts, batch_tokens, max_new_tokens, mixed=forward.may_mix(model)):
        for index, row in zip(batch.indices, _decode(model, batch, max_new_tokens, eos), strict=True):
            outputs[index] = row[row >= 0].tolist()
        progress(len(batch.indices))
    return outputs


def _decode(model: "PreTrainedModel", batch: Batch, steps: int, eos: int | Sequence[int]) -> np.ndarray:
    """Return the new tokens of a batch, int64 [rows, steps], -1 after the end."""
    new = np.full((len(batch.indices), steps), -1)
    rows = np.arange(len(batch.indices))
    room = slots.slots_for(model, 0, len(rows), batch.longest + steps) if forward.may_mix(model) else None
    state: forward.State | slots.Slots
    logits, state = forward.prefill(model, batch)
    for step in range(steps):
        # A NaN counts as the largest logit, and is refused. On a CPU, numpy finds the largest ten times faster.
        on_cpu = logits.device.type == "cpu"
        tokens = torch.from_numpy(logits.numpy().argmax(-1)) if on_cpu else logits.argmax(-1)
        forward.refuse_damaged(model, logits.gather(1, tokens[:, None]))
        new[rows, step] = tokens.cpu().numpy()
        alive = np.flatnonzero(~np.isin(new[rows, step], eos))
        if step + 1 == steps or not len(alive):
            break
        if len(alive) < len(rows):
            rows, tokens = rows[alive], tokens[forward.sent(torch.from_numpy(alive), tokens.device)]
        logits, state = slots.read_on(model, state, alive, tokens, room)
    return new
