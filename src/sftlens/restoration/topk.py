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
   then by the low 14 bits, finds the threshold and the number of ties (`scan.Stretches.find`).
4. The keys were kept in stretches, in the order of the elements. Counting the ties of each stretch tells which holds
   the last one, and only this stretch is read again (`last_tie`).

Where the sample misled, some cut lies in no window: then the histogram of all elements is made, and 2 to 4 follow
again.

Example: the keys 7 3 9 7 1 7 8 2 7 5 and k = 40, so that n = 4; bins of two keys, stretches of five elements. The
sample says that the cut lies in the bin of 6 and 7. The pass counts 2 elements above it (9 and 8), 4 in it (7 7 | 7 7)
and 4 below. 4 - 2 = 2 of those in it are wanted: the threshold is 7, with 2 ties. The first stretch holds two 7s, so
the last tie is in it; reading it again finds the second 7 at index 3. Selected are 9, 8 and the 7s at 0 and 3: the cut
is (threshold 7, ties 2, end 4).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import sqrt

import numpy as np

from sftlens.errors import DataError
from sftlens.restoration.criteria import Criterion
from sftlens.restoration.cuts import EVERYTHING, NOTHING, Cut, above, count, indices
from sftlens.restoration.pairs import SAMPLE, Pair
from sftlens.restoration.scan import BINS, MOST_WINDOWS, Counts, Found, Scan, counted, keys_of, scan

__all__ = ["BINS", "Counts", "Cut", "count", "cuts", "histogram", "keys_of", "select"]

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
    for some in parts(numbers):
        found = scan(pair, criterion, guessed(sample, some, pair.elements()))
        ends |= {number: end_of(pair, criterion, found, number) for number in some}
    if None in ends.values():
        return cuts(pair, criterion, histogram(pair, criterion), ratios)
    return list(named(pair, ratios, ends))


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
    numbers = to_find(pair, ratios)
    check(pair, int(counts.sum()) == pair.elements())
    above_or_in = np.cumsum(counts[::-1])[::-1]
    below = np.append(0, np.cumsum(counts))
    ends: dict[int, Cut | None] = {}
    for some in parts(numbers):
        bins = sorted({int(np.flatnonzero(above_or_in >= number)[-1]) for number in some})
        found = scan(pair, criterion, [range(b, b + 1) for b in bins])
        edges = [0, *(edge for b in bins for edge in (b, b + 1)), len(counts)]
        check(pair, np.array_equal(found.sizes, np.diff(below[edges])))
        ends |= {number: end_of(pair, criterion, found, number) for number in some}
    return list(named(pair, ratios, ends))


def check(pair: Pair, fits: bool) -> None:
    """Raise DataError unless the histogram at hand fits the weights."""
    if not fits:
        raise DataError(
            f"the histogram given for {pair.finetuned.folder} was made of other weights, criterion or region; "
            "make it again with sftlens changes"
        )


def to_find(pair: Pair, ratios: Iterable[float]) -> list[int]:
    """Return the numbers of elements, ascending, whose cuts must be looked for: neither nothing nor everything."""
    wanted = {count(pair.elements(), ratio) for ratio in ratios}
    return sorted(wanted - {0, pair.elements()})


def parts(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yield `numbers` by as many as one pass can find."""
    for start in range(0, len(numbers), MOST_WINDOWS):
        yield numbers[start : start + MOST_WINDOWS]


def guessed(sample: Counts, numbers: Iterable[int], elements: int) -> list[range]:
    """Return windows, disjoint and ascending, in which the cuts of `numbers` probably lie."""
    size = int(sample.sum())
    error = MARGIN / sqrt(size / SAMPLE) if size < elements else 0.0
    reached = np.cumsum(sample[::-1])[::-1] / size
    windows: list[range] = []
    # The largest numbers reach furthest down.
    for number in sorted(numbers, reverse=True):
        share = number / elements
        margin = error * sqrt(share * (1 - share))
        first = last_at_least(reached, share + margin)
        window = range(first, max(first, last_at_least(reached, share - margin)) + 1)
        if windows and window.start < windows[-1].stop:
            window = range(windows.pop().start, max(window.stop, first + 1))
        windows.append(window)
    return windows


def last_at_least(reached: np.ndarray, share: float) -> int:
    """Return the last bin down to which at least `share` of a sample is reached (the first bin for too much)."""
    places = np.flatnonzero(reached >= share)
    return int(places[-1]) if len(places) else 0


def end_of(pair: Pair, criterion: Criterion, found: Scan, number: int) -> Cut | None:
    """Return the cut of the `number` first elements, its ratio left open; None when no window holds it."""
    end = found.find(number)
    if end is None:
        return None
    last = (pair.names[-1], pair.size(pair.names[-1])) if end.all_ties else last_tie(pair, criterion, end)
    return Cut(0, number, end.threshold, end.ties, *last)


def last_tie(pair: Pair, criterion: Criterion, found: Found) -> tuple[str, int]:
    """Return where the selected ties end: a tensor, and the flat index in it behind the last of them."""
    wanted = found.ties_there
    for piece in pair.pieces(found.stretch.name, found.stretch.start):
        keys = keys_of(criterion, piece)
        places = indices(above(keys, found.threshold - 1) ^ above(keys, found.threshold))
        if len(places) >= wanted:
            return piece.name, piece.start + int(places[wanted - 1]) + 1
        wanted -= len(places)
    raise DataError(f"{pair.finetuned.folder}: weights changed while they were read; do not write to this folder")


def named(pair: Pair, ratios: Iterable[float], ends: dict[int, Cut | None]) -> Iterator[Cut]:
    """Yield the cut of each ratio."""
    whole = {0: Cut(0, 0, NOTHING), pair.elements(): Cut(100, pair.elements(), EVERYTHING)}
    for ratio in ratios:
        cut = (whole | ends)[count(pair.elements(), ratio)]
        assert cut is not None
        yield replace(cut, ratio=ratio)
