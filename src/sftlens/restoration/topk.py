"""Exact selection of the first k % of all elements: one pass, bounded memory, any number of ratios at once.

A criterion gives each element a key, an integer from 0 to 2^31 - 1 (the bits of a float that is not negative sort like
the float). The first k % are the n = floor(elements k / 100) elements with the largest keys, of equal keys the first
by (tensor name, flat index). So the answer is a *cut* (`cuts.Cut`): a threshold key, how many of the elements with
exactly this key are taken, the ties, and where the last of them stands. Sorting would find it, in the memory of all
keys. This is a radix selection, which only counts:

1. The high 17 bits of a key are its *bin*. The histogram of the bins says in which bin a cut lies. The histogram of a
   sample says it nearly: the cut lies in a *window* of some bins (`guessed`). Where sftlens changes left the
   histogram of all elements, each window is one bin (`cuts`).
2. One pass over all elements counts those in and between the windows, and keeps the keys inside them, a few percent of
   all (`scan.scan`).
3. n less the elements above a window is what is wanted of it. Counting its keys from the largest down, by bins and
   then by the low 14 bits, finds the threshold and the number of ties (`scan.Segments.find`).
4. The keys were kept in segments, in the order of the elements. Counting the ties of each segment tells which holds
   the last one, and only this segment is read again (`end_of`).

Where the sample misled, some cut lies in no window: then the histogram of all elements is made, and 2 to 4 follow
again.

Example: the keys 7 3 9 7 1 7 8 2 7 5 and k = 40, so that n = 4; bins of two keys, segments of five elements. The
sample says that the cut lies in the bin of 6 and 7. The pass counts 2 elements above it (9 and 8), 4 in it (7 7 | 7 7)
and 4 below. 4 - 2 = 2 of those in it are wanted: the threshold is 7, with 2 ties. The first segment holds two 7s, so
the last tie is in it; reading it again finds the second 7 at index 3. Selected are 9, 8 and the 7s at 0 and 3: the cut
is (threshold 7, ties 2, end 4).
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import sqrt

import numpy as np

from sftlens.errors import DataError
from sftlens.restoration.criteria import Criterion
from sftlens.restoration.cuts import EVERYTHING, NOTHING, Cut, above, count, indices
from sftlens.restoration.pairs import SAMPLE, Pair
from sftlens.restoration.scan import BINS, MOST_WINDOWS, Counts, Scan, counted, keys_of, scan

MARGIN = 0.7
"""Width of a window by each side of a sample's quantile, in standard deviations of wholly correlated blocks."""


def histogram(pair: Pair, criterion: Criterion) -> Counts:
    """Return the coarse histogram of the whole region, int64 [BINS]: one pass. Raises ModelError on NaN or Inf."""
    return counted(criterion, pair.pieces(), pair.device)


def select(pair: Pair, criterion: Criterion, ratios: Sequence[float]) -> list[Cut]:
    """Return the exact cut of each ratio: one pass and a sample of it, rarely three passes.

    Args:
        pair: the parameters of the region.
        criterion: how they are ranked.
        ratios: percentages, any sequence.

    Raises:
        ConfigError: a ratio outside [0, 100].
        ModelError: NaN or Inf in the weights.
    """
    numbers = to_find(pair, ratios)
    sample = counted(criterion, pair.sample(), pair.device) if numbers else np.zeros(BINS, dtype=np.int64)
    ends: dict[int, Cut | None] = {}
    for first in range(0, len(numbers), MOST_WINDOWS):
        some = numbers[first : first + MOST_WINDOWS]
        found = scan(pair, criterion, guessed(sample, some, pair.elements()))
        ends |= {number: end_of(pair, criterion, found, number) for number in some}
    if None in ends.values():
        return cuts(pair, criterion, histogram(pair, criterion), ratios)
    return named(pair, ratios, ends)


def cuts(pair: Pair, criterion: Criterion, counts: Counts, ratios: Sequence[float]) -> list[Cut]:
    """Return the exact cut of each ratio: one pass.

    Args:
        pair: the parameters of the region.
        criterion: the one that made `counts`.
        counts: `histogram(pair, criterion)`, perhaps read from a file.
        ratios: percentages, any sequence.

    Raises:
        ConfigError: a ratio outside [0, 100].
        DataError: `counts` is of other weights, another criterion or another region.
    """
    wrong = DataError(
        f"the histogram given for {pair.finetuned.folder} was made of other weights, criterion or region; "
        "make it again with sftlens changes"
    )
    numbers = to_find(pair, ratios)
    if int(counts.sum()) != pair.elements():
        raise wrong
    above_or_in = np.cumsum(counts[::-1])[::-1]
    below = np.append(0, np.cumsum(counts))
    ends: dict[int, Cut | None] = {}
    for first in range(0, len(numbers), MOST_WINDOWS):
        some = numbers[first : first + MOST_WINDOWS]
        bins = sorted({int(np.flatnonzero(above_or_in >= number)[-1]) for number in some})
        found = scan(pair, criterion, [range(b, b + 1) for b in bins])
        edges = [0, *(edge for b in bins for edge in (b, b + 1)), len(counts)]
        if not np.array_equal(found.sizes, np.diff(below[edges])):
            raise wrong
        ends |= {number: end_of(pair, criterion, found, number) for number in some}
    return named(pair, ratios, ends)


def to_find(pair: Pair, ratios: Iterable[float]) -> list[int]:
    """Return the numbers of elements, ascending, whose cuts must be looked for: neither nothing nor everything."""
    wanted = {count(pair.elements(), ratio) for ratio in ratios}
    return sorted(wanted - {0, pair.elements()})


def guessed(sample: Counts, numbers: Iterable[int], elements: int) -> list[range]:
    """Return windows, disjoint and ascending, in which the cuts of `numbers` probably lie."""
    size = int(sample.sum())
    error = MARGIN / sqrt(size / SAMPLE) if size < elements else 0.0
    reached = np.cumsum(sample[::-1])[::-1] / size

    def last_at_least(share: float) -> int:
        """The last bin down to which at least `share` of the sample is reached (the first bin for too much)."""
        return max(0, int(np.count_nonzero(reached >= share)) - 1)

    windows: list[range] = []
    # The largest numbers reach furthest down.
    for number in sorted(numbers, reverse=True):
        share = number / elements
        margin = error * sqrt(share * (1 - share))
        first = last_at_least(share + margin)
        window = range(first, max(first, last_at_least(share - margin)) + 1)
        if windows and window.start < windows[-1].stop:
            window = range(windows.pop().start, max(window.stop, first + 1))
        windows.append(window)
    return windows


def end_of(pair: Pair, criterion: Criterion, found: Scan, number: int) -> Cut | None:
    """Return the cut of the `number` first elements, its ratio left open; None when no window holds it."""
    end = found.find(number)
    if end is None:
        return None
    if end.all_ties:
        return Cut(0, number, end.threshold, end.ties, pair.names[-1], pair.size(pair.names[-1]))
    # Only the segment that holds the last selected tie is read again.
    wanted = end.ties_there
    for piece in pair.pieces(end.segment.name, end.segment.start):
        keys = keys_of(criterion, piece)
        ties = indices(above(keys, end.threshold - 1) ^ above(keys, end.threshold))
        if len(ties) >= wanted:
            return Cut(0, number, end.threshold, end.ties, piece.name, piece.start + int(ties[wanted - 1]) + 1)
        wanted -= len(ties)
    raise DataError(f"{pair.finetuned.folder}: weights changed while they were read; do not write to this folder")


def named(pair: Pair, ratios: Iterable[float], ends: dict[int, Cut | None]) -> list[Cut]:
    """Return the cut of each ratio."""
    whole = {0: Cut(0, 0, NOTHING), pair.elements(): Cut(100, pair.elements(), EVERYTHING)}
    cuts = [(ratio, (whole | ends)[count(pair.elements(), ratio)]) for ratio in ratios]
    return [replace(cut, ratio=ratio) for ratio, cut in cuts if cut]
