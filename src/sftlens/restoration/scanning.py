"""One pass over a region: how many keys lie between some windows of keys, and exactly which lie inside them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from sftlens.restoration.masks import indices
from sftlens.restoration.orders import Order
from sftlens.restoration.pairs import Pair, Piece

LOW_BITS = 14
BINS = 1 << (31 - LOW_BITS)
"""Ranges of 2^LOW_BITS keys each, which together hold every key."""
MOST_WINDOWS = 63
"""What one pass can tell apart: two windows' classes fit into 16 bits without the sign."""
ENTRIES = 1 << 24
"""Counters (int64) of a pass, about: 128 MB."""
FILLER = 127
"""A class that no window has."""
BATCH = 1 << 20
"""Numbers counted at a time; speed and memory only."""

Counts = np.ndarray
"""int64, number of elements per key or per range of keys."""


class Tally:
    """Counts small numbers into `counts`. They are gathered first: few at a time would cost more than many."""

    def __init__(self, counts: Counts, dtype: torch.dtype = torch.int32, device: str = "cpu") -> None:
        """Start with `counts` [n] for numbers 0 <= i < n of type `dtype`, which are written to `device`."""
        self.counts = counts
        self._room = torch.empty(BATCH, dtype=dtype, device=device)
        self._filled = 0

    def room(self, number: int) -> Tensor:
        """Return a place, 1-D, in which to write the next `number` numbers, all of them before asking again."""
        if self._filled + number > len(self._room):
            self.flush()
        if number > len(self._room):
            self._room = self._room.new_empty(number)
        self._filled += number
        return self._room[self._filled - number : self._filled]

    def flush(self) -> None:
        """Bring `counts` up to date."""
        if self._filled:
            self.counts += torch.bincount(self._room[: self._filled], minlength=len(self.counts)).cpu().numpy()
        self._filled = 0


def keys_of(order: Order, piece: Piece) -> Tensor:
    """Return the keys of a piece, int32, 1-D."""
    return order(piece.name, piece.p, piece.s, piece.start)


def counted(order: Order, pieces: Iterable[Piece], device: str) -> Counts:
    """Return the number of keys in each of BINS ranges of keys."""
    tally = Tally(np.zeros(BINS, dtype=np.int64), device=device)
    for piece in pieces:
        keys = keys_of(order, piece)
        torch.bitwise_right_shift(keys, LOW_BITS, out=tally.room(len(keys)))
    tally.flush()
    return tally.counts


@dataclass(frozen=True)
class Found:
    """Where the wanted number of elements ends."""

    threshold: int
    """Key of the last element."""
    ties: int
    """How many elements with this key are wanted."""
    all_ties: bool
    """Whether that is every element with this key."""
    group: int
    """The group of tensors that holds the last of them."""
    ties_in_group: int
    """How many of them are in this group."""


@dataclass(frozen=True)
class Scan:
    """What one pass found."""

    windows: Sequence[range]
    """Disjoint ranges of bins, ascending."""
    sizes: Counts
    """[2 len(windows) + 1]: elements below the first window, in it, between it and the second, and so on."""
    groups: Sequence[Sequence[str]]
    """Runs of consecutive tensors: ties are counted by group, so that memory does not grow with the model."""
    inside: Counts
    """[len(groups), keys in the windows]: elements by key, the windows side by side."""

    def find(self, wanted: int) -> Found | None:
        """Return where the `wanted` > 0 elements with the largest keys end; None when that is in no window."""
        above, stop = 0, self.inside.shape[1]
        for number, window in reversed(list(enumerate(self.windows))):
            above += int(self.sizes[2 * number + 2])
            start = stop - (len(window) << LOW_BITS)
            if above < wanted <= above + self.sizes[2 * number + 1]:
                return locate(self.inside[:, start:stop], window.start << LOW_BITS, wanted - above)
            above, stop = above + int(self.sizes[2 * number + 1]), start
        return None


def locate(inside: Counts, first: int, wanted: int) -> Found:
    """Return where the `wanted` largest keys of a window end; `inside` [groups, keys] counts from key `first` on."""
    total = inside.sum(axis=0)
    reached = np.cumsum(total[::-1])[::-1]
    at = int(np.flatnonzero(reached >= wanted)[-1])
    ties = wanted - int(reached[at] - total[at])
    so_far = np.cumsum(inside[:, at])
    group = int(np.searchsorted(so_far, ties))
    before = int(so_far[group - 1]) if group else 0
    return Found(first + at, ties, ties == total[at], group, ties - before)


def scan(pair: Pair, order: Order, windows: Sequence[range]) -> Scan:
    """Return what lies in and between `windows`, disjoint ascending ranges of bins, at most MOST_WINDOWS."""
    width = sum(len(window) for window in windows) << LOW_BITS
    groups = grouped(pair, max(1, ENTRIES // width))
    inside = np.zeros((len(groups), width), dtype=np.int64)
    sizes = Sizes(windows, pair.device)
    slots_of = slots(windows).to(pair.device)
    for names, row in zip(groups, inside, strict=True):
        tally = Tally(row, device=pair.device)
        for piece in pair.pieces(names):
            keys = keys_of(order, piece)
            hits = keys.index_select(0, indices(sizes.add(keys)))
            torch.add(slots_of.index_select(0, hits >> LOW_BITS), hits, out=tally.room(len(hits)))
        tally.flush()
    return Scan(windows, sizes.result(), groups, inside)


def grouped(pair: Pair, most: int) -> list[list[str]]:
    """Return the region's tensors in at most `most` runs of about equally many elements."""
    ends = list(accumulate(pair.size(name) for name in pair.names))
    groups: dict[int, list[str]] = {}
    for name, end in zip(pair.names, ends, strict=True):
        groups.setdefault((end - 1) * most // max(1, ends[-1]), []).append(name)
    return list(groups.values())


def slots(windows: Sequence[range]) -> Tensor:
    """Return, by bin in a window: what to add to a key for its place among all keys in windows, int32 [BINS]."""
    shift, first = torch.zeros(BINS, dtype=torch.int32), 0
    for window in windows:
        shift[window.start : window.stop] = (first - window.start) << LOW_BITS
        first += len(window)
    return shift


class Sizes:
    """Counts the keys in and between windows.

    Counting few distinct classes is slow, each increment waiting for the one before. Two neighbouring elements
    taken as one number are half as many numbers, and of the square of the values.
    """

    def __init__(self, windows: Sequence[range], device: str) -> None:
        classes = torch.zeros(BINS, dtype=torch.uint8)
        for number, window in enumerate(windows):
            classes[window.start : window.stop] = 2 * number + 1
            classes[window.stop :] = 2 * number + 2
        self._classes = classes.to(device)
        self._tally = Tally(np.zeros(1 << 15, dtype=np.int64), torch.int16, device)
        self._number = 2 * len(windows) + 1

    def add(self, keys: Tensor) -> Tensor:
        """Count int32 `keys` >= 0, 1-D; return which are in a window, bool."""
        pairs = self._tally.room((len(keys) + 1) // 2)
        room = pairs.view(torch.uint8)
        room[-1] = FILLER
        found = torch.index_select(self._classes, 0, keys >> LOW_BITS, out=room[: len(keys)])
        return (found & 1).view(torch.bool)

    def result(self) -> Counts:
        """Return the number of keys below the first window, in it, between it and the second, and so on."""
        self._tally.flush()
        pairs = self._tally.counts.reshape(128, 256)
        return (pairs.sum(axis=0)[:128] + pairs.sum(axis=1))[: self._number]
