"""Decoding at fixed addresses of the GPU's memory, so that a step is one CUDA graph.

A step of a model of 32 layers launches about a thousand kernels. Python launches them more slowly than an H100 computes
256 rows of them. A graph replays them in one launch, but it reads and writes the addresses it was captured with, and it
computes as many rows as then. So the KV cache lies in *slots*: each row has one, and keeps it while it goes on. A row
that ends leaves a hole; a second continuation of a prefix takes a free slot, and nothing but its own keys and values is
copied. Graphs exist for some numbers of slots: a step replays the smallest that covers the rows, which first move out
of the slots behind it.

    rows  a b c d        b ends, d goes on as d and e, 4 of 8 slots are computed:
    slots 0 1 2 3   ->   a e c d    (e takes slot 1, which b left; one row is copied, none is moved)

Columns: prompts are padded on the left, so that all rows write the same column next. What a row must not see (padding,
columns not written yet, what the slot's last row left) is masked.
"""

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

from sftlens.inference import forward
from sftlens.inference.forward import State
from sftlens.inference.kv_cache import GrowingLayer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_COLUMNS = 32
"""The width is a multiple of this: batches of nearly equal prompts share their graphs, and the mask is aligned."""
_SIZES = 8
"""Graphs for each doubling of the number of rows; at most an eighth of the rows computed are empty slots."""
_LARGER, _RARE = 1.3, 16
"""A size that was wanted less often uses the graph of one so much larger: to capture takes as long as ten steps."""


class _Column(DynamicLayer):
    """One layer of some slots: a token's keys and values go to the column that all rows write."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, column: torch.Tensor) -> None:
        super().__init__()
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self.keys, self.values, self._column = keys, values, column

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write one more token; return all columns, those not written yet included."""
        assert self.keys is not None and self.values is not None
        self.keys.index_copy_(2, self._column, key_states)
        self.values.index_copy_(2, self._column, value_states)
        return self.keys, self.values


class Slots:
    """The rows of one batch of a model whose layers keep all keys and values (`forward.may_mix`)."""

    def __init__(self, model: "PreTrainedModel", rows: int, columns: int) -> None:
        """Make room for `rows` rows of `columns` tokens; memory as those have in any cache, kept while this lives."""
        config, device = model.config.get_text_config(), model.device
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.rows, self.columns = rows_computed(rows), -(-columns // _COLUMNS) * _COLUMNS
        shape = (2 * config.num_hidden_layers, self.rows, heads, self.columns, size)
        self._memory = torch.zeros(shape, dtype=model.dtype, device=device)
        self._tokens = torch.zeros((self.rows, 1), dtype=torch.int64, device=device)
        self._positions = torch.zeros_like(self._tokens)
        self._mask = torch.zeros((self.rows, 1, 1, self.columns), dtype=torch.bool, device=device)
        self._column = torch.zeros(1, dtype=torch.int64, device=device)
        self._logits: torch.Tensor | None = None
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}
        self._wanted: Counter[int] = Counter()
        self._tried: set[int] = set()
        self._graphed = device.type == "cuda"
        # The memory in which all graphs compute: they run one after another, and nothing in it outlives a step.
        self._pool = torch.cuda.graph_pool_handle() if self._graphed else None
        self._place = np.arange(0)
        self._filled = 0

    @property
    def graphs(self) -> int:
        """Number of graphs captured so far."""
        return len(self._graphs)

    def advance(
        self, model: "PreTrainedModel", state: "State | Slots", parents: np.ndarray, tokens: torch.Tensor
    ) -> torch.Tensor:
        """Read one more token of each row; return the fp32 logits, [rows, vocabulary], of the next.

        Args:
            model: the one that these slots were made for.
            state: what the rows continue: these slots, or a state of its own, which stays as it is.
            parents: the row of `state` that each row continues, int [rows], equal ones side by side.
            tokens: int64 [rows].
        """
        if isinstance(state, Slots):
            self._follow(parents)
        else:
            self._load(state, parents)
        place = forward.sent(torch.from_numpy(self._place), tokens.device)
        self._tokens[place, 0] = tokens
        self._column.fill_(self._filled)
        self._mask.index_fill_(3, self._column, True)
        logits = self._computed(model, rows_computed(len(place)))[place].float()
        self._positions += 1
        self._filled += 1
        return logits

    def unload(self, model: "PreTrainedModel") -> State:
        """Return a state of its own, a copy of what the rows hold."""
        place = forward.sent(torch.from_numpy(self._place), self._memory.device)
        held = self._memory[:, place, :, : self._filled]
        cache = DynamicCache(config=model.config)
        cache.layers = [GrowingLayer(pair[0], pair[1], self._filled) for pair in held.split(2)]
        return State(cache, self._positions[place, 0], self._mask[place, 0, 0, : self._filled].long())

    def _load(self, state: State, parents: np.ndarray) -> None:
        layers = state.cache.layers
        filled = layers[0].keys.shape[2]
        self._place, self._filled = np.arange(len(parents)), filled
        rows = forward.sent(torch.from_numpy(parents), self._memory.device)
        for i, layer in enumerate(layers):
            for j, states in enumerate((layer.keys, layer.values)):
                self._memory[2 * i + j, : len(rows), :, :filled] = states.index_select(0, rows)
        self._mask[:, :, :, filled:] = False
        self._mask[: len(rows), 0, 0, :filled] = True if state.mask is None else state.mask[rows].bool()
        self._positions[: len(rows), 0] = filled if state.lengths is None else state.lengths[rows]

    def _follow(self, parents: np.ndarray) -> None:
        """Give each row a slot: its parent's for the first, a free one for others; then leave those behind the graph's.

        Slots that are written belong to no parent, so that all rows are copied at once.
        """
        source = self._place[parents]
        target, size = source.copy(), rows_computed(len(parents))
        more = np.flatnonzero(np.r_[False, parents[1:] == parents[:-1]])
        target[more] = np.setdiff1d(np.arange(self.rows), source)[: len(more)]
        behind = np.flatnonzero(target >= size)
        target[behind] = np.setdiff1d(np.arange(size), target)[: len(behind)]
        self._place = target
        moved = target != source
        if moved.any():
            old, new = (forward.sent(torch.from_numpy(slots[moved]), self._memory.device) for slots in (source, target))
            held = self._memory[:, :, :, : self._filled]
            held.index_copy_(1, new, held.index_select(1, old))
            for values in (self._mask, self._positions):
                values.index_copy_(0, new, values.index_select(0, old))

    def _computed(self, model: "PreTrainedModel", size: int) -> torch.Tensor:
        """Return the logits, [slots, vocabulary], of at least the first `size` slots: valid until the next step."""
        if not self._graphed:
            return self._forward(model, size)
        self._wanted[size] += 1
        near = [other for other in self._graphs if size < other <= _LARGER * size]
        if near and size not in self._graphs and self._wanted[size] < _RARE:
            size = min(near)
        if size not in self._tried:  # once without a graph, which lets libraries set themselves up
            self._tried.add(size)
            return self._forward(model, size)
        if size not in self._graphs:
            graph = torch.cuda.CUDAGraph()
            try:
                with torch.cuda.graph(graph, pool=self._pool):
                    self._forward(model, size)
            except RuntimeError as error:  # a model that looks at its values, as some routers do
                print(f"{model.name_or_path}: decodes without CUDA graphs ({error})", file=sys.stderr)
                self._graphed = False
                return self._forward(model, size)
            self._graphs[size] = graph
        self._graphs[size].replay()
        assert self._logits is not None
        return self._logits

    def _forward(self, model: "PreTrainedModel", size: int) -> torch.Tensor:
        cache = DynamicCache(config=model.config)
        cache.layers = [_Column(pair[0], pair[1], self._column) for pair in self._memory[:, :size].split(2)]
        logits = model(
            input_ids=self._tokens[:size],
            attention_mask=self._mask[:size],
            position_ids=self._positions[:size],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        if self._logits is None:
            self._logits = logits.new_zeros(self.rows, logits.shape[1])
        return self._logits[:size].copy_(logits)


def read_on(
    model: "PreTrainedModel",
    state: "State | Slots",
    parents: np.ndarray,
    tokens: torch.Tensor,
    slots: Slots | None,
    *,
    keep: bool = False,
) -> "tuple[torch.Tensor, State | Slots]":
    """Read one more token of each row, in slots where there are some; return the logits, and the new state.

    Args:
        model, state, parents, tokens: as for `Slots.advance`.
        slots: where the rows are computed; None: nowhere in particular, as on a CPU.
        keep: leave `state` as it is; slots are changed in any case (see `Slots.unload`).
    """
    if slots is not None:
        return slots.advance(model, state, parents, tokens), slots
    assert isinstance(state, State)
    if keep or not np.array_equal(parents, np.arange(state.rows)):
        state = forward.gather(state, torch.from_numpy(parents), keep=keep)
    return forward.advance(model, state, tokens)


def rows_computed(rows: int) -> int:
    """Return how many slots a step computes for so many rows."""
    each = max(8, 2 ** (rows - 1).bit_length() // 2 // _SIZES) if rows > 1 else 8
    return -(-rows // each) * each


def on_one_gpu(model: "PreTrainedModel") -> bool:
    """Whether steps are worth a graph, and can be one: not on a CPU, not with layers on several GPUs."""
    return model.device.type == "cuda" and len(set(getattr(model, "hf_device_map", {"": 0}).values())) == 1


def slots_for(model: "PreTrainedModel", lane: int, rows: int, columns: int) -> Slots | None:
    """Return the slots in which a batch decodes, those of the lane's last batch if they fit; None without a GPU.

    Batches that decode in turns are in different lanes. Graphs are captured once for all batches that fit.
    """
    if not on_one_gpu(model):
        return None
    lanes = _LANES.setdefault(model, {})
    found = lanes.get(lane)
    if found is None or found.rows < rows or not columns <= found.columns < columns + 2 * _COLUMNS:
        lanes.pop(lane, None)
        found = lanes[lane] = Slots(model, rows, columns)
    return found


_LANES: "WeakKeyDictionary[PreTrainedModel, dict[int, Slots]]" = WeakKeyDictionary()
