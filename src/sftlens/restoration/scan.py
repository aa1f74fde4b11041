"""One pass over a region: how many keys lie between some windows of keys, and which keys lie inside them.

`scan` reads every element once. Each key's bin (its high bits) is looked up in a table of classes: 0 below the first
window, 1 in it, 2 between it and the second, and so on. `Sizes` counts the classes, `Segments` keeps the keys of odd
classes. It keeps them segment by segment of the region, so that the last tie of a cut can be found without reading the
region again, and in bounded memory: where many keys repeat, as those of unchanged elements do, it stores each distinct
key with a count, and when there are still too many it joins neighbouring segments. See `sftlens.restoration.topk`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sftlens.restoration.criteria import Criterion
from sftlens.restoration.cuts import picked
from sftlens.restoration.pairs import Pair, Piece

Counts = np.ndarray
"""int64, number of elements per key or per range of keys."""
Part = tuple[np.ndarray, Counts | None]
"""Some keys (int32, any sequence, perhaps repeated), and how many elements each stands for; None: one."""
LOW_BITS = 14
BINS = 1 << (31 - LOW_BITS)
"""Ranges of 2^LOW_BITS keys each, which together hold every key."""
SEGMENT = 1 << 21
"""Elements of a segment at first."""
MOST_ENTRIES = 1 << 25
"""Keys kept at most, 4 or 12 bytes each: beyond it neighbouring segments become one."""
GPU_ENTRIES = 1 << 27
"""The same where a GPU ranks: it would wait for the CPU that sorts them."""
SPARSE = 1 / 8
"""Up to this share of a segment, keys are kept as they come: to sort them would cost more than to keep them."""
MOST_WINDOWS = 63
"""What one pass can tell apart: two windows' classes fit into 16 bits without the sign."""
FILLER = 127
"""A class that no window has."""
BATCH = 1 << 20
"""Numbers counted at a time; speed and memory only."""


class Tally:
    """Counts small numbers into `counts`. They are gathered first: few at a time would cost more than many."""

    def __init__(self, counts: Counts, dtype: torch.dtype = torch.int32, device: str = "cpu") -> None:
        """Start with `counts` [n] for numbers 0 <= i < n of type `dtype`, which are written to `device`."""
        self.counts = counts
        self._buffer = torch.empty(BATCH, dtype=dtype, device=device)
        self._filled = 0

    def buffer(self, number: int) -> Tensor:
        """Return a view, 1-D, to write into: the next `number` numbers, all of them before the next call."""
        if self._filled + number > len(self._buffer):
            self.flush()
        if number > len(self._buffer):
            self._buffer = self._buffer.new_empty(number)
        self._filled += number
        return self._buffer[self._filled - number : self._filled]

    def flush(self) -> None:
        """Bring `counts` up to date."""
        if self._filled:
            self.counts += torch.bincount(self._buffer[: self._filled], minlength=len(self.counts)).cpu().numpy()
        self._filled = 0


def keys_of(criterion: Criterion, piece: Piece) -> Tensor:
    """Return the keys of a piece, int32, 1-D."""
    return criterion(piece.name, piece.p, piece.s, piece.start)


def counted(criterion: Criterion, pieces: Iterable[Piece], device: str) -> Counts:
    """Return the number of keys in each of BINS ranges of keys."""
    tally = Tally(np.zeros(BINS, dtype=np.int64), device=device)
    for piece in pieces:
        keys = keys_of(criterion, piece)
        torch.bitwise_right_shift(keys, LOW_BITS, out=tally.buffer(len(keys)))
    tally.flush()
    return tally.counts


@dataclass(frozen=True)
class Segment:
    """Consecutive elements of the region, from element `start` of the tensor `name` on."""

    name: str
    start: int
    parts: tuple[Part, ...]
    """The keys in each window."""

    def entries(self) -> int:
        """Return the number of keys kept."""
        return sum(len(keys) for keys, _ in self.parts)


@dataclass(frozen=True)
class End:
    """Where the wanted number of elements ends."""

    threshold: int
    """Key of the last element."""
    ties: int
    """How many elements with this key are wanted."""
    all_ties: bool
    """Whether that is every element with this key."""
    segment: Segment
    """The segment that holds the last of them."""
    ties_there: int
    """How many of them are in this segment."""


class Segments:
    """Collects the keys in some windows, piece by piece. What it finds does not depend on pieces or segments."""

    def __init__(self, windows: Sequence[range], segment: int = SEGMENT, entries: int = MOST_ENTRIES) -> None:
        """Start with none; `windows` are disjoint ascending ranges of bins, `segment` and `entries` memory only."""
        self.windows = windows
        self._classes = classes(windows)
        self._done: list[Segment] = []
        self._open: list[np.ndarray] = []
        self._begin = ("", 0)
        self._elements = 0
        self._entries = 0
        self._segment = segment
        self._most = entries

    def add(self, name: str, start: int, elements: int, keys: np.ndarray) -> None:
        """Take the int32 `keys` in windows of a piece: `elements` elements of the tensor `name` from `start` on."""
        if not self._open:
            self._begin = (name, start)
        self._open.append(keys)
        self._elements += elements
        if self._elements >= self._segment:
            self._close()

    def _close(self) -> None:
        if self._open:
            keys = np.concatenate(self._open)
            found = self._classes[keys >> LOW_BITS]
            parts: list[Part] = [(keys[found == 2 * number + 1], None) for number in range(len(self.windows))]
            if len(keys) > SPARSE * self._elements:
                parts = [joined([part]) for part in parts]
            self._done.append(Segment(*self._begin, tuple(parts)))
            self._entries += self._done[-1].entries()
        self._open, self._elements = [], 0
        while self._entries > self._most and len(self._done) > 1:
            self._done = [merged(self._done[i : i + 2]) for i in range(0, len(self._done), 2)]
            self._entries = sum(segment.entries() for segment in self._done)

    def find(self, number: int, wanted: int) -> End:
        """Return where the `wanted` elements with the largest keys in the window `number` end."""
        self._close()
        parts = [segment.parts[number] for segment in self._done]
        window = self.windows[number]
        high, wanted = last([(keys >> LOW_BITS, counts) for keys, counts in parts], window, wanted)
        low = range(high << LOW_BITS, (high + 1) << LOW_BITS)
        there: list[Part] = []
        for keys, counts in parts:
            inside = (keys >= low.start) & (keys < low.stop)
            there.append((keys[inside], None if counts is None else counts[inside]))
        threshold, ties = last(there, low, wanted)
        tied = [(keys == threshold, counts) for keys, counts in there]
        so_far = np.cumsum([int(np.sum(mask if counts is None else counts[mask])) for mask, counts in tied])
        index = int(np.searchsorted(so_far, ties))
        before = int(so_far[index - 1]) if index else 0
        return End(threshold, ties, ties == so_far[-1], self._done[index], ties - before)


@dataclass(frozen=True)
class Scan:
    """What one pass found."""

    windows: Sequence[range]
    """Disjoint ranges of bins, ascending."""
    sizes: Counts
    """[2 len(windows) + 1]: elements below the first window, in it, between it and the second, and so on."""
    inside: Segments
    """The keys in the windows."""

    def find(self, wanted: int) -> End | None:
        """Return where the `wanted` > 0 elements with the largest keys end; None when that is in no window."""
        above = 0
        for number in reversed(range(len(self.windows))):
            above += int(self.sizes[2 * number + 2])
            within = int(self.sizes[2 * number + 1])
            if above < wanted <= above + within:
                return self.inside.find(number, wanted - above)
            above += within
        return None


def scan(pair: Pair, criterion: Criterion, windows: Sequence[range]) -> Scan:
    """Return what lies in and between `windows`, disjoint ascending ranges of bins, at most MOST_WINDOWS."""
    entries = MOST_ENTRIES if torch.device(pair.device).type == "cpu" else GPU_ENTRIES
    sizes, inside = Sizes(windows, pair.device), Segments(windows, entries=entries)
    for piece in pair.pieces():
        keys = keys_of(criterion, piece)
        inside.add(piece.name, piece.start, len(keys), picked(keys, sizes.add(keys)))
    return Scan(windows, sizes.result(), inside)


def classes(windows: Sequence[range]) -> np.ndarray:
    """Return the class of each bin, uint8 [BINS]: 2 i + 1 in window i, even numbers between the windows."""
    found = np.zeros(BINS, dtype=np.uint8)
    for number, window in enumerate(windows):
        found[window.start : window.stop] = 2 * number + 1
        found[window.stop :] = 2 * number + 2
    return found


class Sizes:
    """Counts the keys in and between windows.

    Counting few distinct classes is slow, each increment waiting for the one before. Two neighbouring elements
    taken as one number are half as many numbers, and of the square of the values.
    """

    def __init__(self, windows: Sequence[range], device: str) -> None:
        self._classes = torch.from_numpy(classes(windows)).to(device)
        self._tally = Tally(np.zeros(1 << 15, dtype=np.int64), torch.int16, device)
        self._number = 2 * len(windows) + 1
        self._bins = torch.empty(0, dtype=torch.int32, device=device)

    def add(self, keys: Tensor) -> Tensor:
        """Count int32 `keys` >= 0, 1-D; return which are in a window, bool."""
        pairs = self._tally.buffer((len(keys) + 1) // 2)
        buffer = pairs.view(torch.uint8)
        buffer[-1] = FILLER
        if len(self._bins) < len(keys):
            self._bins = self._bins.new_empty(len(keys))
        bins = torch.bitwise_right_shift(keys, LOW_BITS, out=self._bins[: len(keys)])
        found = torch.index_select(self._classes, 0, bins, out=buffer[: len(keys)])
        return (found & 1).view(torch.bool)

    def result(self) -> Counts:
        """Return the number of keys below the first window, in it, between it and the second, and so on."""
        self._tally.flush()
        pairs = self._tally.counts.reshape(128, 256)
        return (pairs.sum(axis=0)[:128] + pairs.sum(axis=1))[: self._number]


def merged(segments: Sequence[Segment]) -> Segment:
    """Return consecutive segments as one, in which every key stands once."""
    parts = zip(*(segment.parts for segment in segments), strict=True)
    return Segment(segments[0].name, segments[0].start, tuple(joined(part) for part in parts))


def joined(parts: Sequence[Part]) -> Part:
    """Return parts as one, in which every key stands once."""
    keys, inverse = np.unique(np.concatenate([keys for keys, _ in parts]), return_inverse=True)
    weights = [np.ones(len(keys), np.int64) if counts is None else counts for keys, counts in parts]
    return keys, np.bincount(inverse, np.concatenate(weights), len(keys)).astype(np.int64)


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
