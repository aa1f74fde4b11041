"""Exact selection of the first k % of all elements, streaming, for any number of ratios at once.

A radix selection on the bit patterns of the keys. A sample tells in which small windows the cuts should lie, or a
histogram of the keys' high bits where it is at hand. One pass over all elements then counts how many lie between the
windows, and every key inside them: this gives thresholds and ties exactly.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import sqrt

import numpy as np

from sftlens.errors import DataError
from sftlens.restoration.criteria import Criterion
from sftlens.restoration.cuts import EVERYTHING, NOTHING, Cut, above, count, indices
from sftlens.restoration.key_counts import BINS, Counts, Found
from sftlens.restoration.pairs import SAMPLE, Pair
from sftlens.restoration.scan import MOST_WINDOWS, Scan, counted, keys_of, scan

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
            "make it again with scripts/changes.py"
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
