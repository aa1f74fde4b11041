"""The keys near the cuts and how often they occur, stretch by stretch of the region, in bounded memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Counts = np.ndarray
"""int64, number of elements per key or per range of keys."""
Part = tuple[np.ndarray, Counts | None]
"""Some keys (int32, any sequence, perhaps repeated), and how many elements each stands for; None: one."""
LOW_BITS = 14
BINS = 1 << (31 - LOW_BITS)
"""Ranges of 2^LOW_BITS keys each, which together hold every key."""
STRETCH = 1 << 21
"""Elements of a stretch at first."""
MOST_ENTRIES = 1 << 25
"""Keys kept at most, 4 or 12 bytes each: beyond it neighbouring stretches become one."""
SPARSE = 1 / 8
"""Up to this share of a stretch, keys are kept as they come: to sort them would cost more than to keep them."""


@dataclass(frozen=True)
class Stretch:
    """Consecutive elements of the region, from element `start` of the tensor `name` on."""

    name: str
    start: int
    parts: tuple[Part, ...]
    """The keys in each window."""

    def entries(self) -> int:
        """Return the number of keys kept."""
        return sum(len(keys) for keys, _ in self.parts)


@dataclass(frozen=True)
class Found:
    """Where the wanted number of elements ends."""

    threshold: int
    """Key of the last element."""
    ties: int
    """How many elements with this key are wanted."""
    all_ties: bool
    """Whether that is every element with this key."""
    stretch: Stretch
    """The stretch that holds the last of them."""
    ties_there: int
    """How many of them are in this stretch."""


class Stretches:
    """Collects the keys in some windows, piece by piece. What it finds does not depend on pieces or stretches."""

    def __init__(self, windows: Sequence[range], stretch: int = STRETCH, entries: int = MOST_ENTRIES) -> None:
        """Start with none; `windows` are disjoint ascending ranges of bins, `stretch` and `entries` memory only."""
        self.windows = windows
        self._classes = classes(windows)
        self._done: list[Stretch] = []
        self._open: list[np.ndarray] = []
        self._begin = ("", 0)
        self._elements = 0
        self._entries = 0
        self._stretch = stretch
        self._most = entries

    def add(self, name: str, start: int, elements: int, keys: np.ndarray) -> None:
        """Take the int32 `keys` in windows of a piece: `elements` elements of the tensor `name` from `start` on."""
        if not self._open:
            self._begin = (name, start)
        self._open.append(keys)
        self._elements += elements
        if self._elements >= self._stretch:
            self._close()

    def _close(self) -> None:
        if self._open:
            keys = np.concatenate(self._open)
            found = self._classes[keys >> LOW_BITS]
            parts: list[Part] = [(keys[found == 2 * number + 1], None) for number in range(len(self.windows))]
            if len(keys) > SPARSE * self._elements:
                parts = [joined([part]) for part in parts]
            self._done.append(Stretch(*self._begin, tuple(parts)))
            self._entries += self._done[-1].entries()
        self._open, self._elements = [], 0
        while self._entries > self._most and len(self._done) > 1:
            self._done = [merged(self._done[i : i + 2]) for i in range(0, len(self._done), 2)]
            self._entries = sum(stretch.entries() for stretch in self._done)

    def find(self, number: int, wanted: int) -> Found:
        """Return where the `wanted` elements with the largest keys in the window `number` end."""
        self._close()
        parts = [stretch.parts[number] for stretch in self._done]
        window = self.windows[number]
        high, wanted = last([(keys >> LOW_BITS, counts) for keys, counts in parts], window, wanted)
        low = range(high << LOW_BITS, (high + 1) << LOW_BITS)
        threshold, ties = last([within(low, *part) for part in parts], low, wanted)
        so_far = np.cumsum([number_of(threshold, *part) for part in parts])
        place = int(np.searchsorted(so_far, ties))
        before = int(so_far[place - 1]) if place else 0
        return Found(threshold, ties, ties == so_far[-1], self._done[place], ties - before)


def classes(windows: Sequence[range]) -> np.ndarray:
    """Return the class of each bin, uint8 [BINS]: 2 i + 1 in window i, even numbers between the windows."""
    found = np.zeros(BINS, dtype=np.uint8)
    for number, window in enumerate(windows):
        found[window.start : window.stop] = 2 * number + 1
        found[window.stop :] = 2 * number + 2
    return found


def merged(stretches: Sequence[Stretch]) -> Stretch:
    """Return consecutive stretches as one, in which every key stands once."""
    parts = zip(*(stretch.parts for stretch in stretches), strict=True)
    return Stretch(stretches[0].name, stretches[0].start, tuple(joined(part) for part in parts))


def joined(parts: Sequence[Part]) -> Part:
    """Return parts as one, in which every key stands once."""
    keys, places = np.unique(np.concatenate([keys for keys, _ in parts]), return_inverse=True)
    weights = [np.ones(len(keys), np.int64) if counts is None else counts for keys, counts in parts]
    return keys, np.bincount(places, np.concatenate(weights), len(keys)).astype(np.int64)


def within(among: range, keys: np.ndarray, counts: Counts | None) -> Part:
    """Return the part whose keys are in the range `among`."""
    inside = (keys >= among.start) & (keys < among.stop)
    return keys[inside], None if counts is None else counts[inside]


def last(parts: Sequence[Part], among: range, wanted: int) -> tuple[int, int]:
    """Return the key at which the `wanted` elements with the largest keys end, and how many of them have it.

    All keys of `parts` must be in the range `among`. Exact below 2^53 elements.
    """
    total = np.zeros(len(among), dtype=np.int64)
    for keys, counts in parts:
        total += np.bincount(keys - among.start, counts, len(among)).astype(np.int64, copy=False)
    reached = np.cumsum(total[::-1])[::-1]
    at = int(np.flatnonzero(reached >= wanted)[-1])
    return among.start + at, wanted - int(reached[at] - total[at])


def number_of(key: int, keys: np.ndarray, counts: Counts | None) -> int:
    """Return how many elements have `key`."""
    tied = keys == key
    return int(np.count_nonzero(tied) if counts is None else counts[tied].sum())
