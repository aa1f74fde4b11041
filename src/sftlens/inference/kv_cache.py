"""Caches that leave room for the tokens to come: one more token of each row is written, and nothing is copied."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import DynamicLayer

ROOM = 8
"""Tokens that a buffer has room for when it is made; most answers are shorter."""
SPARE_ROWS = 5
"""Fourths of its rows that a buffer has room for when rows became more than it held."""


class GrowingLayer(DynamicLayer):
    """Keys and values of one layer, [rows, heads, tokens, size]: the first tokens of buffers that hold a few more.

    transformers' own layer copies everything it holds for each new token.
    """

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, tokens: int) -> None:
        """Take over two buffers whose first `tokens` tokens are filled."""
        super().__init__()
        self.dtype, self.device = keys.dtype, keys.device
        self.is_initialized = True
        self._buffers, self._rows = (keys, values), len(keys)
        self._show(tokens)

    def _show(self, tokens: int) -> None:
        self.keys, self.values = (buffer[: self._rows, :, :tokens] for buffer in self._buffers)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the keys and values of more tokens; return all."""
        assert self.keys is not None and self.values is not None
        before = self.keys.shape[2]
        after = before + key_states.shape[2]
        if after > self._buffers[0].shape[2]:
            self._buffers = _longer(self.keys, key_states), _longer(self.values, value_states)
        else:
            for buffer, new in zip(self._buffers, (key_states, value_states), strict=True):
                buffer[: self._rows, :, before:after] = new
        self._show(after)
        return self.keys, self.values

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Take some rows, repeats allowed, into buffers of their own."""
        assert self.keys is not None
        tokens = self.keys.shape[2]
        keys, values = self._buffers
        self._buffers = keys.index_select(0, beam_idx.to(keys.device)), values.index_select(0, beam_idx.to(keys.device))
        self._rows = len(beam_idx)
        self._show(tokens)

    def follow(self, rows: torch.Tensor, moved: torch.Tensor, sources: torch.Tensor) -> None:
        """Take some rows in place: of the buffers only the rows `moved` change, to what the rows `sources` hold.

        Where there are more rows than the buffers hold, all are copied, into larger ones.
        """
        assert self.keys is not None
        if len(rows) > len(self._buffers[0]):
            keys, values = (_more_rows(buffer, rows) for buffer in self._buffers)
            self._buffers = keys, values
        elif len(moved):
            for buffer in self._buffers:  # whole rows, one piece of memory each
                buffer.index_copy_(0, moved, buffer.index_select(0, sources))
        self._rows = len(rows)
        self._show(self.keys.shape[2])


def _more_rows(states: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return a buffer that begins with some rows, with room for a few more."""
    whole = states.new_empty(len(rows) * SPARE_ROWS // 4, *states.shape[1:])
    torch.index_select(states, 0, rows, out=whole[: len(rows)])
    return whole


def follow(cache: Any, rows: torch.Tensor) -> None:
    """Take some rows of a cache (int64, repeats allowed) in place; only those whose number changes are copied."""
    moved = (rows != torch.arange(len(rows))).nonzero().flatten()
    sources = rows[moved]
    for layer in cache.layers:
        if type(layer) is GrowingLayer and layer.device.type == "cpu":
            layer.follow(rows, moved, sources)
        else:
            layer.reorder_cache(rows)


def _longer(states: torch.Tensor, more: torch.Tensor) -> torch.Tensor:
    rows, heads, _, size = states.shape
    return torch.cat([states, more, states.new_empty(rows, heads, ROOM, size)], dim=2)


def reorder(cache: Any, rows: torch.Tensor, room: int) -> None:
    """Take some rows of a cache (int64, repeats allowed) in place, with room for so many tokens more."""
    for i, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer and layer.keys is not None and layer.values is not None:
            keys, values = _spread(layer.keys, rows, room), _spread(layer.values, rows, room)
            cache.layers[i] = GrowingLayer(keys, values, layer.keys.shape[2])
        else:
            layer.reorder_cache(rows)


def _spread(states: torch.Tensor, rows: torch.Tensor, room: int) -> torch.Tensor:
    _, heads, tokens, size = states.shape
    whole = states.new_empty(len(rows), heads, tokens + room, size)
    torch.index_select(states, 0, rows.to(states.device), out=whole[:, :, :tokens])
    return whole


def side_by_side(caches: Sequence[Any]) -> Any:
    """Return one cache with the rows of several, shorter ones padded on the left; the several are used up.

    Layers that forget (sliding windows) stay as they are; their rows must be equally long.
    """
    whole = caches[0]
    for i in range(len(whole.layers)):
        layers = [cache.layers[i] for cache in caches]
        keys, values = [layer.keys for layer in layers], [layer.values for layer in layers]
        if type(layers[0]) in (DynamicLayer, GrowingLayer):
            longest = max(part.shape[2] for part in keys)
            whole.layers[i] = GrowingLayer(_joined(keys, longest), _joined(values, longest), longest)
        elif len(caches) > 1:
            layers[0].keys, layers[0].values = torch.cat(keys), torch.cat(values)
        for cache in caches[1:]:
            cache.layers[i] = None
    return whole


def _joined(parts: Sequence[torch.Tensor], longest: int) -> torch.Tensor:
    """Return a buffer of all rows with room for more; padding is 0, as a masked NaN would still be one."""
    _, heads, _, size = parts[0].shape
    counts = [len(part) for part in parts]
    whole = parts[0].new_empty(sum(counts), heads, longest + ROOM, size)
    for rows, part in zip(whole.split(counts), parts, strict=True):
        start = longest - part.shape[2]
        rows[:, :, :start] = 0
        rows[:, :, start:longest] = part
    return whole
