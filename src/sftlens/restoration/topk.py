"""Exact selection of the first k % of all elements: a radix selection of two passes, for all ratios at once.

A criterion gives each element a key, an integer from 0 to 2^31 - 1 (the bits of a float that is not negative sort like
the float). The first k % are the n = floor(elements k / 100) elements with the largest keys, of equal keys the first
by (tensor name, flat index). So the answer is a *cut* (`cuts.Cut`): a threshold key, how many of the elements with
exactly this key are taken, the ties, and where the last of them stands. Sorting would find it, in the memory of all
keys. A radix selection only counts:

1. The high 17 bits of a key are its *bin*. The first pass counts the elements of each bin (`histogram`). Counted from
   the largest bin down, the bin in which the n-th element lies is the cut's; n less the elements above it are wanted of
   it.
2. The second pass counts the keys in the bins of cuts, a few thousandths of all as a rule (`keys_in`). Counted from the
   largest key down, the key of the last wanted element is the threshold, and what is wanted of it is the ties
   (`end_of`).
3. The second pass counts by segments, consecutive elements, so that the counts tell in which segment the last tie
   stands. Only this segment is read again, to find where.

What is kept depends on the number of cuts, not on that of elements. sftlens changes leaves the histogram in a file,
which spares the first pass.

Example: the keys 7 3 9 7 1 7 8 2 7 5 and k = 40, so that n = 4; bins of two keys (the last bit is low), segments of
five elements. Pass 1 counts, from the bin of 8 and 9 down: 2, 4 (the 7s), 1, 2, 1. The fourth element is in the bin of
6 and 7, of which 4 - 2 = 2 are wanted. Pass 2 counts in this bin: no 6, 7 twice in each segment. The threshold is 7,
with 2 ties of 4; the first segment has two, so the last is in it. Reading it again finds the second 7 at index 3.
Selected are 9, 8 and the 7s at 0 and 3: the cut is (threshold 7, ties 2, end 4).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from sftlens.errors import DataError
from sftlens.restoration.criteria import Criterion
from sftlens.restoration.cuts import EVERYTHING, NOTHING, Cut, above, count, how_many, indices, picked
from sftlens.restoration.pairs import Pair, Piece

Counts = np.ndarray
"""int64, number of elements per key or per range of keys."""
Begin = tuple[str, int]
"""The first element of a segment: a tensor and a flat index."""
LOW_BITS = 14
BINS = 1 << (31 - LOW_BITS)
"""Ranges of 2^LOW_BITS keys each, which together hold every key."""
BATCH = 1 << 20
"""Numbers counted at a time; speed only."""
MOST_BINS = 64
"""Bins in one second pass, at most."""
SEGMENTS = 32
"""Segments of a region, at most. A bin takes SEGMENTS * 2^LOW_BITS * 8 bytes: 4 MB, MOST_BINS of them 268 MB."""


class Tally:
    """Counts small numbers. They are gathered first: few at a time would cost more than many."""

    def __init__(self, size: int, shift: int = 0) -> None:
        """Start to count numbers that, without their `shift` low bits, are 0 <= i < `size`."""
        self._counts, self._shift, self._filled = np.zeros(size, dtype=np.int64), shift, 0
        self._buffer = torch.empty(0, dtype=torch.int32)

    def add(self, numbers: Tensor) -> None:
        """Count int32 `numbers`, 1-D, of any device, always the same one."""
        if self._filled + len(numbers) > len(self._buffer):
            self._count()
            if len(numbers) > len(self._buffer):
                self._buffer = numbers.new_empty(max(BATCH, len(numbers)))
        begin, self._filled = self._filled, self._filled + len(numbers)
        torch.bitwise_right_shift(numbers, self._shift, out=self._buffer[begin : self._filled])

    def _count(self) -> None:
        if self._filled:
            counts = torch.bincount(self._buffer[: self._filled], minlength=len(self._counts))
            self._counts += counts.cpu().numpy()
        self._filled = 0

    def take(self) -> Counts:
        """Return how often each number came, int64 [size], and start again."""
        self._count()
        counts, self._counts = self._counts, np.zeros_like(self._counts)
        return counts


def keys_of(criterion: Criterion, piece: Piece) -> Tensor:
    """Return the keys of a piece, int32, 1-D; they may lie in the memory of `piece.p` or `piece.s`."""
    return criterion(piece.name, piece.p, piece.s, piece.start)


def histogram(pair: Pair, criterion: Criterion) -> Counts:
    """Return the elements of the region in each bin, int64 [BINS]: one pass. Raises ModelError on NaN or Inf."""
    tally = Tally(BINS, LOW_BITS)
    for piece in pair.pieces():
        tally.add(keys_of(criterion, piece))
    return tally.take()


def select(pair: Pair, criterion: Criterion, ratios: Sequence[float]) -> list[Cut]:
    """Return the exact cut of each ratio: two passes. Raises as `cuts`."""
    return cuts(pair, criterion, histogram(pair, criterion), ratios)


def cuts(pair: Pair, criterion: Criterion, counts: Counts, ratios: Sequence[float]) -> list[Cut]:
    """Return the exact cut of each ratio, percent: one pass. `counts` is the `histogram`, perhaps read from a file.

    Raises ConfigError for a ratio outside [0, 100], ModelError on NaN or Inf in the weights, DataError where `counts`
    is of other weights, another criterion or another region.
    """
    wrong = DataError(
        f"the histogram given for {pair.finetuned.folder} was made of other weights, criterion or region; "
        "make it again with sftlens changes"
    )
    elements = pair.elements()
    numbers = [count(elements, ratio) for ratio in ratios]
    found = {0: Cut(0, 0, NOTHING), elements: Cut(100, elements, EVERYTHING)}
    if int(counts.sum()) != elements:
        raise wrong
    reached = np.cumsum(counts[::-1])[::-1]  # elements in this bin or a larger one
    bin_of = {number: int(np.flatnonzero(reached >= number)[-1]) for number in sorted({*numbers} - {*found})}
    bins = sorted(set(bin_of.values()))
    for first in range(0, len(bins), MOST_BINS):
        some = bins[first : first + MOST_BINS]
        begins, table, at_least = keys_in(pair, criterion, some)
        if at_least != reached[some[0]] or not np.array_equal(table.sum(axis=(0, 2)), counts[some]):
            raise wrong
        for number, its_bin in bin_of.items():
            if its_bin in some:
                wanted = number - int(reached[its_bin] - counts[its_bin])
                end = end_of(pair, criterion, begins, table[:, some.index(its_bin)], its_bin, wanted)
                found[number] = Cut(0, number, *end)
    return [replace(found[number], ratio=ratio) for number, ratio in zip(numbers, ratios, strict=True)]


def keys_in(pair: Pair, criterion: Criterion, bins: Sequence[int]) -> tuple[list[Begin], Counts, int]:
    """Return what the second pass counts for some `bins`, ascending, at most MOST_BINS.

    The first element of each segment; how many elements of each segment have each key of each bin, int64
    [SEGMENTS, len(bins), 2^LOW_BITS]; and how many elements are in the first of the bins or a larger one.
    """
    table = np.zeros((SEGMENTS, len(bins), 1 << LOW_BITS), dtype=np.int64)
    begins, tally = list[Begin](), Tally(table[0].size)
    row = torch.zeros(BINS, dtype=torch.uint8, device=pair.device)  # 1, 2, ... for the bins, 0 for all others
    row[list(bins)] = torch.arange(1, len(bins) + 1, dtype=torch.uint8, device=pair.device)
    done = at_least = 0
    for piece in pair.pieces():
        if done * SEGMENTS >= len(begins) * pair.elements():
            if begins:
                table[len(begins) - 1].flat = tally.take()
            begins.append((piece.name, piece.start))
        keys = keys_of(criterion, piece)
        at_least += how_many(above(keys, (bins[0] << LOW_BITS) - 1))
        kept = picked(keys, above(row.index_select(0, keys >> LOW_BITS), 0))
        rows = row.index_select(0, kept >> LOW_BITS).int() - 1
        tally.add((rows << LOW_BITS) + (kept & ((1 << LOW_BITS) - 1)))
        done += len(keys)
    table[len(begins) - 1].flat = tally.take()
    return begins, table, at_least


def end_of(
    pair: Pair, criterion: Criterion, begins: Sequence[Begin], table: Counts, in_bin: int, wanted: int
) -> tuple[int, int, str, int]:
    """Return the threshold, ties, last tensor and end (see `Cut`) of the `wanted` > 0 largest keys in a bin.

    `begins` and `table`, int64 [SEGMENTS, 2^LOW_BITS], are what `keys_in` returns of this bin.
    """
    numbers = table.sum(axis=0)
    reached = np.cumsum(numbers[::-1])[::-1]
    low = int(np.flatnonzero(reached >= wanted)[-1])
    threshold, ties = (in_bin << LOW_BITS) + low, wanted - int(reached[low] - numbers[low])
    if ties == numbers[low]:
        return threshold, ties, pair.names[-1], pair.size(pair.names[-1])
    so_far = np.cumsum(table[:, low])
    segment = int(np.searchsorted(so_far, ties))
    left = ties - int(so_far[segment] - table[segment, low])
    for piece in pair.pieces(*begins[segment]):
        keys = keys_of(criterion, piece)
        tied = indices(above(keys, threshold - 1) ^ above(keys, threshold))
        if len(tied) >= left:
            return threshold, ties, piece.name, piece.start + int(tied[left - 1]) + 1
        left -= len(tied)
    raise DataError(f"{pair.finetuned.folder}: weights changed while they were read; do not write to this folder")
