"""Drawing tokens from logits: a uniform number gives the token whose interval of the cumulative probabilities holds it.

A vocabulary has tens of thousands of tokens. What lies between the logits and a token, some arrays of [rows,
vocabulary], would take as long as a small model's layers if it went through the main memory. So rows are drawn a few at
a time: on a CPU as many as stay in its caches. Each row is computed as if it were alone.
"""

from collections.abc import Callable

import numpy as np
import torch

from sftlens.inference import forward

_BLOCK = 64
"""Tokens of the vocabulary whose probabilities are summed first."""
_ROWS = {"cpu": 8, "cuda": 256}
"""Rows whose tokens are drawn at once."""


def draw(
    logits: torch.Tensor, temperature: float, owner: np.ndarray, counts: np.ndarray, uniforms: np.ndarray
) -> Callable[[], tuple[np.ndarray, torch.Tensor]]:
    """Return the next token of each sample: the first whose cumulative probability exceeds its uniform number.

    The second result is the sum of each row's probabilities, NaN where its logits are.

    They are under way on a GPU when this returns; calling the result waits for them.

    Args:
        logits: [rows, vocabulary].
        temperature: what they are divided by, in fp32.
        owner: int [samples], the row of each sample, ascending.
        counts: int [rows], the samples of each row.
        uniforms: float64 [samples].
    """
    columns = np.arange(len(owner)) - (np.cumsum(counts) - counts)[owner]
    draws = torch.zeros((len(counts), counts.max()), dtype=torch.float64)
    draws[owner, columns] = torch.from_numpy(uniforms)
    rows = _ROWS.get(logits.device.type, _ROWS["cuda"])
    parts = zip(logits.split(rows), forward.sent(draws, logits.device).split(rows), strict=True)
    found = [_invert(torch.softmax(part.float() / temperature, dim=-1), numbers) for part, numbers in parts]
    tokens, sums = (torch.cat(values) for values in zip(*found, strict=True))
    on_host = [part.to("cpu", non_blocking=True) for part in (tokens, sums)]
    copied = torch.cuda.Event() if logits.device.type == "cuda" else None
    if copied:
        copied.record()

    def finished() -> tuple[np.ndarray, torch.Tensor]:
        if copied:
            copied.synchronize()
        return on_host[0].numpy()[owner, columns], on_host[1]

    return finished


def _invert(probabilities: torch.Tensor, uniforms: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tokens, int64 [rows, draws], and the sums of all probabilities, float64 [rows].

    A token's interval of the cumulative probabilities holds the uniform number.

    Sums are float64, over blocks of the vocabulary first and then within the one block that a number falls into.
    """
    rows, vocabulary = probabilities.shape
    if pad := -vocabulary % _BLOCK:
        probabilities = torch.nn.functional.pad(probabilities, (0, pad))
    blocks = probabilities.view(rows, -1, _BLOCK)
    ends = blocks.sum(-1, dtype=torch.float64).cumsum(-1)
    # Scaled by the last sum, which rounding leaves a little off 1.
    targets = uniforms * ends[:, -1:]
    block = torch.searchsorted(ends, targets, right=True).clamp_(max=ends.shape[1] - 1)
    before = torch.nn.functional.pad(ends, (1, 0)).gather(1, block)
    inside = blocks.gather(1, block[:, :, None].expand(-1, -1, _BLOCK)).cumsum(-1, dtype=torch.float64)
    offset = torch.searchsorted(inside, (targets - before)[:, :, None], right=True)[:, :, 0]
    return (block * _BLOCK + offset.clamp_(max=_BLOCK - 1)).clamp_(max=vocabulary - 1), ends[:, -1]
