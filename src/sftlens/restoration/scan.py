"""One pass over a region: how many keys lie between some windows of keys, and exactly which lie inside them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sftlens.restoration.criteria import Criterion
from sftlens.restoration.cuts import picked
from sftlens.restoration.key_counts import BINS, LOW_BITS, Counts, Found, Stretches, classes
from sftlens.restoration.pairs import Pair, Piece

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


def keys_of(criterion: Criterion, piece: Piece) -> Tensor:
    """Return the keys of a piece, int32, 1-D."""
    return criterion(piece.name, piece.p, piece.s, piece.start)


def counted(criterion: Criterion, pieces: Iterable[Piece], device: str) -> Counts:
    """Return the number of keys in each of BINS ranges of keys."""
    tally = Tally(np.zeros(BINS, dtype=np.int64), device=device)
    for piece in pieces:
        keys = keys_of(criterion, piece)
        torch.bitwise_right_shift(keys, LOW_BITS, out=tally.room(len(keys)))
    tally.flush()
    return tally.counts


@dataclass(frozen=True)
class Scan:
    """What one pass found."""

    windows: Sequence[range]
    """Disjoint ranges of bins, ascending."""
    sizes: Counts
    """[2 len(windows) + 1]: elements below the first window, in it, between it and the second, and so on."""
    inside: Stretches
    """The keys in the windows."""

    def find(self, wanted: int) -> Found | None:
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
    sizes, inside = Sizes(windows, pair.device), Stretches(windows)
    for piece in pair.pieces():
        keys = keys_of(criterion, piece)
        inside.add(piece.name, piece.start, len(keys), picked(keys, sizes.add(keys)))
    return Scan(windows, sizes.result(), inside)


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
        pairs = self._tally.room((len(keys) + 1) // 2)
        room = pairs.view(torch.uint8)
        room[-1] = FILLER
        if len(self._bins) < len(keys):
            self._bins = self._bins.new_empty(len(keys))
        bins = torch.bitwise_right_shift(keys, LOW_BITS, out=self._bins[: len(keys)])
        found = torch.index_select(self._classes, 0, bins, out=room[: len(keys)])
        return (found & 1).view(torch.bool)

    def result(self) -> Counts:
        """Return the number of keys below the first window, in it, between it and the second, and so on."""
        self._tally.flush()
        pairs = self._tally.counts.reshape(128, 256)
        return (pairs.sum(axis=0)[:128] + pairs.sum(axis=1))[: self._number]
