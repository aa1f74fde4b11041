"""Exact selection of the first k % of all elements, streaming: a histogram, refined where a cut falls.

Two passes of a radix selection. The first counts the high bits of every key; the second counts the low bits
of the keys in the one bin that holds the cut, tensor by tensor: this gives threshold and ties exactly.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor

import numpy as np
import torch
from torch import Tensor

from sftlens.errors import ConfigError, DataError
from sftlens.restoration.orders import Order
from sftlens.restoration.pairs import Pair, Piece

LOW_BITS = 14
BINS = 1 << (31 - LOW_BITS)
NOTHING = 2**31 - 1
"""No key is larger: the threshold of an empty selection."""

Counts = np.ndarray
"""int64, number of elements per key or per range of keys."""


@dataclass(frozen=True)
class Cut:
    """The first floor(n k / 100) elements of an order: all with a larger key, and some ties.

    Nothing but this is needed to tell, for any piece of any tensor, which elements are in it.
    """

    ratio: float
    """k, percent."""
    elements: int
    """How many elements are selected."""
    threshold: int
    """Elements with a key above are selected, those with this key in part."""
    ties: Mapping[str, int] = field(default_factory=dict)
    """How many elements with exactly this key are selected, the first of each tensor; absent means 0."""

    def mask(self, name: str, keys: Tensor, ties_before: int) -> tuple[Tensor, int]:
        """Return which elements of a piece are selected (bool), and the ties counted up to its end.

        Args:
            name: tensor that the piece belongs to.
            keys: int32 keys of consecutive elements, 1-D.
            ties_before: what this returned for the piece before in the same tensor, 0 for the first.
        """
        mask = keys > self.threshold
        wanted = self.ties.get(name, 0) - ties_before
        if wanted > 0:
            tied = torch.nonzero(keys == self.threshold).flatten()
            mask[tied[:wanted]] = True
            ties_before += len(tied)
        return mask, ties_before


def count(elements: int, ratio: float) -> int:
    """Return floor(elements * ratio / 100), the ratio taken as the decimal it is written as."""
    if not 0 <= ratio <= 100:
        raise ConfigError(f"ratio {ratio}: not in [0, 100]; it is a percentage of the region's elements")
    return floor(elements * Fraction(str(ratio)) / 100)


def coarse(keys: Tensor) -> Counts:
    """Return the number of keys in each of BINS ranges of keys."""
    return torch.bincount(keys >> LOW_BITS, minlength=BINS).cpu().numpy()


def histogram(pair: Pair, order: Order) -> Counts:
    """Return the coarse histogram of the whole region (first pass)."""
    total = np.zeros(BINS, dtype=np.int64)
    for piece in pair.pieces():
        total += coarse(keys_of(order, piece))
    return total


def keys_of(order: Order, piece: Piece) -> Tensor:
    """Return the keys of a piece, int32, 1-D."""
    return order(piece.name, piece.base, piece.finetuned, piece.start)


def cuts(pair: Pair, order: Order, counts: Counts, ratios: Sequence[float]) -> list[Cut]:
    """Return the exact cut of each ratio (second pass).

    Args:
        pair: the parameters of the region.
        order: the order that made `counts`.
        counts: `histogram(pair, order)`, perhaps read from a file.
        ratios: percentages, any order.

    Raises:
        ConfigError: a ratio outside [0, 100].
        DataError: `counts` is of other weights, another order or another region.
    """
    wanted = [count(int(counts.sum()), ratio) for ratio in ratios]
    above = np.cumsum(counts[::-1])[::-1]
    bins = [int(np.flatnonzero(above >= number)[-1]) if number else None for number in wanted]
    details = refine(pair, order, counts, sorted({b for b in bins if b is not None}))
    return [
        Cut(ratio, 0, NOTHING)
        if b is None
        else locate(ratio, number, b, number - int(above[b] - counts[b]), details[b])
        for ratio, number, b in zip(ratios, wanted, bins, strict=True)
    ]


Detail = dict[str, tuple[np.ndarray, np.ndarray]]
"""Low bits that occur in one bin and their numbers, per tensor."""


def refine(pair: Pair, order: Order, counts: Counts, bins: Sequence[int]) -> dict[int, Detail]:
    """Return the low bits of keys in each of `bins`, by tensor. Raises DataError if `counts` disagrees."""
    details: dict[int, Detail] = {b: {} for b in bins}
    seen = np.zeros(BINS, dtype=np.int64)
    for name, keys in by_tensor(pair, order):
        low_bits = {b: np.zeros(1 << LOW_BITS, dtype=np.int64) for b in bins}
        for part in keys:
            high = part >> LOW_BITS
            seen += torch.bincount(high, minlength=BINS).cpu().numpy()
            for b in bins:
                low = part[high == b] & ((1 << LOW_BITS) - 1)
                low_bits[b] += torch.bincount(low, minlength=1 << LOW_BITS).cpu().numpy()
        for b in bins:
            present = np.flatnonzero(low_bits[b])
            details[b][name] = (present, low_bits[b][present])
    if not np.array_equal(seen, counts):
        raise DataError(
            f"the histogram given for {pair.finetuned.folder} was made of other weights, order or region; "
            "make it again with scripts/changes.py"
        )
    return details


def by_tensor(pair: Pair, order: Order) -> Iterable[tuple[str, Iterable[Tensor]]]:
    """Yield each tensor's name and the keys of its pieces."""
    for name in pair.names:
        yield name, (keys_of(order, piece) for piece in pair.of(name, pair.finetuned.get(name)))


def locate(ratio: float, elements: int, bin_: int, wanted: int, detail: Detail) -> Cut:
    """Return the cut that takes the `wanted` largest keys of the bin `bin_`, whose low bits are `detail`."""
    low = np.zeros(1 << LOW_BITS, dtype=np.int64)
    for present, numbers in detail.values():
        low[present] += numbers
    above = np.cumsum(low[::-1])[::-1]
    threshold = int(np.flatnonzero(above >= wanted)[-1])
    left = wanted - int(above[threshold] - low[threshold])
    return Cut(ratio, elements, (bin_ << LOW_BITS) + threshold, shared(detail, threshold, left))


def shared(detail: Detail, low: int, wanted: int) -> dict[str, int]:
    """Return how many elements with low bits `low` each tensor gives; the first give all of theirs."""
    taken = {}
    for name, (present, numbers) in detail.items():
        if wanted == 0:
            break
        tied = int(numbers[present == low].sum())
        if tied:
            taken[name] = min(tied, wanted)
            wanted -= taken[name]
    return taken
