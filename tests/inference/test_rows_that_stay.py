"""A cache follows its rows: those that go on stay where they are, and no row ever holds another one's keys."""

import numpy as np
import pytest
import torch
from transformers.cache_utils import DynamicCache

from sftlens.inference import forward
from sftlens.inference.forward import State
from sftlens.inference.kv_cache import GrowingLayer

HEADS, SIZE = 2, 3


def state_of(rows: int) -> State:
    cache = DynamicCache()
    keys = torch.arange(float(rows)).repeat(HEADS, 9, SIZE, 1).permute(3, 0, 1, 2).contiguous()
    cache.layers = [GrowingLayer(keys + 100 * i, -keys, 4) for i in range(2)]
    return State(cache, torch.arange(rows), torch.arange(rows)[:, None].repeat(1, 4))


def held(state: State) -> list[list[float]]:
    """Return what each row holds, layer by layer; each is filled with one number."""
    found = [part for layer in state.cache.layers for part in (layer.keys, layer.values)]
    assert all(bool((part == part[:, :1, :1, :1]).all()) for part in found)
    return [[float(part[row, 0, 0, 0]) for part in found] for row in range(state.rows)]


def expected(numbers: np.ndarray) -> list[list[float]]:
    return [[float(n), -float(n), 100.0 + n, -float(n)] for n in numbers.tolist()]


@pytest.mark.parametrize(
    "parents", [[0, 0, 1, 1, 1, 3], [3, 4], [0, 1, 2, 3, 4], [0], [4, 4, 4], [0, 0, 0, 1, 2, 2, 3, 4, 4]]
)
def test_each_row_goes_on_with_what_its_parent_holds(parents: list[int]) -> None:
    rows = np.array(parents)
    rows = rows[forward.staying(rows)]
    assert sorted(rows.tolist()) == parents
    state = forward.gather(state_of(5), torch.from_numpy(rows))
    assert held(state) == expected(rows)
    assert state.lengths is not None and state.lengths.tolist() == rows.tolist()
    new = torch.full((len(rows), HEADS, 1, SIZE), 7.0)
    for layer in state.cache.layers:
        keys, _ = layer.update(new, new)
        assert keys.shape[:3] == (len(rows), HEADS, 5) and bool((keys[:, :, 4] == 7).all())


def test_rows_are_followed_through_many_steps() -> None:
    draw = np.random.default_rng(0)
    state, numbers = state_of(5), np.arange(5)
    for _ in range(60):
        wanted = max(1, min(40, int(len(numbers) * draw.uniform(0.4, 1.8))))
        rows = np.sort(draw.integers(0, len(numbers), wanted))
        rows = rows[forward.staying(rows)]
        state, numbers = forward.gather(state, torch.from_numpy(rows)), numbers[rows]
        assert held(state) == expected(numbers)


def test_a_row_that_goes_on_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    copied, follow = [], GrowingLayer.follow

    def recorded(layer: GrowingLayer, rows: torch.Tensor, moved: torch.Tensor, sources: torch.Tensor) -> None:
        copied.append(moved.tolist())
        follow(layer, rows, moved, sources)

    monkeypatch.setattr(GrowingLayer, "follow", recorded)
    parents = np.array([0, 1, 1, 3, 4])
    order = forward.staying(parents)
    assert parents[order].tolist() == [0, 1, 1, 3, 4]
    state = state_of(6)
    before = [layer.keys.data_ptr() for layer in state.cache.layers]
    state = forward.gather(state, torch.from_numpy(parents[order]))
    assert [layer.keys.data_ptr() for layer in state.cache.layers] == before
    assert copied == [[2], [2]]  # in each layer the second row that goes on from row 1


def test_a_state_that_is_kept_stays_as_it_is() -> None:
    state = state_of(4)
    forward.gather(state, torch.tensor([3, 3, 0]), keep=True)
    assert held(state) == expected(np.arange(4))
    moved = forward.gather(state, torch.tensor([3, 3, 0]), keep=True)
    forward.gather(moved, torch.tensor([2, 1]))
    assert held(state) == expected(np.arange(4))
