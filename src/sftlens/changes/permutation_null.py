"""The null model: the same changes d = s - p, dealt out anew among the elements of their tensor; p stays.

It keeps every size of change and every |p| of a tensor, and breaks what links them. What it shows as well is
arithmetic, no trace of learning: |d| / (|p| + epsilon) is large wherever |p| is small.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from sftlens.changes.concentration import Concentration, shares, top
from sftlens.restoration.criteria import Criterion
from sftlens.restoration.cuts import count
from sftlens.restoration.pairs import Pair
from sftlens.restoration.ranking import SUMS, stream
from sftlens.restoration.topk import BINS, LOW_BITS

PILE = 1 << 16
"""Elements that are shuffled at a time, about; more where MOST_PILES do not suffice."""
MOST_PILES = 256
"""As many as one byte tells apart."""
BATCH = 1 << 20
"""Elements dealt into piles at a time. All three decide, with the seed, about the order."""
FINGERPRINT = 1 << 18
"""First elements of a tensor's change that tell models apart."""
Sparse = tuple[np.ndarray, np.ndarray]
"""The bins that one tensor's keys fall into, and how many fall into each."""


@dataclass(frozen=True)
class Null(Concentration):
    """How the change is spread under the null model: `tensors` of the first draw, `shares` the mean over all draws."""

    spread: dict[float, dict[str, float]]
    """SD between draws of each of the shares; empty for one draw."""


def measure(
    pair: Pair, criterion: Criterion, ratios: Sequence[float], epsilon: float, seed: int, draws: int = 1
) -> Null:
    """Return how the change would be spread under the null model: one pass, and one more for each of the `draws`.

    Cuts lie within a range of 2^14 keys, in which r differs by 0.2 %; of the elements in it each counts as taken in
    the same part. So the shares are exact to far below that, and numbers of elements have fractions.

    It takes 12 bytes of memory for each element of the largest tensor. Every draw and tensor has a permutation of its
    own, and so has every model: the errors of several models' nulls are independent.
    Returns `tensors` with the columns `name` and `top(ratio)`, and `shares` (see Concentration); `ratios` ascend.
    """
    numbers, sums = np.zeros((draws, BINS)), np.zeros((draws, len(SUMS), BINS))
    tensors: list[Sparse] = []
    for name in pair.names:
        d = change(pair, name)
        for draw in range(draws):
            own = np.zeros(BINS)
            for keys, values in dealt(pair, criterion, epsilon, name, shuffled(d, start(seed, draw, name, d))):
                bins = keys >> LOW_BITS
                own += torch.bincount(bins, minlength=BINS).cpu().numpy()
                for column, value in enumerate(values):
                    sums[draw, column] += torch.bincount(bins, value, minlength=BINS).cpu().numpy()
            numbers[draw] += own
            if draw == 0:
                tensors.append((np.flatnonzero(own), own[own > 0]))
    found: list[dict[float, dict[str, float]]] = []
    for draw in reversed(range(draws)):
        ends = [end(numbers[draw], count(pair.elements(), ratio)) for ratio in ratios]
        held = [taken(np.arange(BINS), sums[draw].T, *boundary) for boundary in [*ends, (0, 1.0)]]
        found.append(shares(ratios, np.array(held)))
    # The cuts are now those of the first draw.
    tops = {
        top(ratio): [taken(*own, *boundary) for own in tensors] for ratio, boundary in zip(ratios, ends, strict=True)
    }

    def over_draws(statistic: Callable[[list[float]], Any]) -> dict[float, dict[str, float]]:
        return {k: {name: float(statistic([one[k][name] for one in found])) for name in SUMS} for k in found[0]}

    spread = over_draws(lambda values: np.std(values, ddof=1)) if draws > 1 else {}
    return Null(pd.DataFrame({"name": pair.names, **tops}), over_draws(np.mean), spread)


def change(pair: Pair, name: str) -> Tensor:
    """Return the change d = s - p of one tensor, fp32, 1-D."""
    d = torch.empty(pair.size(name), device=pair.device)
    for piece in pair.of(name, pair.finetuned.get(name).to(pair.device)):
        torch.sub(piece.s, piece.p, out=d[piece.start : piece.start + len(piece.p)])
    return d


def start(seed: int, draw: int, name: str, d: Tensor) -> int:
    """Return the seed of a tensor's permutation: also its change decides, so that no two models share one."""
    return stream(seed, f"null {draw} {zlib.crc32(d[:FINGERPRINT].cpu().numpy().tobytes())} {name}")


def dealt(
    pair: Pair, criterion: Criterion, epsilon: float, name: str, d: Tensor
) -> Iterator[tuple[Tensor, tuple[Tensor, ...]]]:
    """Yield the keys, int32, and r, |d| and d^2, float64, of one tensor's pieces with `d` for their changes."""
    for piece in pair.of(name, pair.finetuned.get(name).to(pair.device)):
        here = d[piece.start : piece.start + len(piece.p)]
        exact = here.double()
        r = here.abs().div_(piece.p.abs().add_(epsilon)).double()
        keys = criterion(name, piece.p, piece.p + here, piece.start)
        yield keys, (r, exact.abs(), exact.square())


def shuffled(values: Tensor, seed: int) -> Tensor:
    """Return 1-D `values` in a random order, each order as likely as any other; the same on every device.

    Elements are dealt at random into piles, and each pile, which fits into a cache, is shuffled by itself (Rao, Sankhya
    23, 1961; Sandelius, J. R. Stat. Soc. B 24, 1962). To fetch each element from anywhere in a tensor takes longer.
    """
    generator = torch.Generator().manual_seed(seed)
    source = values.cpu().numpy()
    number = min(-(-len(source) // PILE), MOST_PILES)
    piles: list[list[np.ndarray]] = [[] for _ in range(number)]
    for start in range(0, len(source), BATCH):
        part = source[start : start + BATCH]
        goes_to = torch.randint(number, part.shape, generator=generator, dtype=torch.uint8).numpy()
        ends = np.cumsum(np.bincount(goes_to, minlength=number))
        # For numbers so short a stable sort counts and does not compare.
        for pile, some in zip(piles, np.split(part.take(np.argsort(goes_to, kind="stable")), ends[:-1]), strict=True):
            pile.append(some)
    result, start = torch.empty_like(values), 0
    for parts in piles:
        elements = torch.from_numpy(np.concatenate(parts))
        order = torch.randperm(len(elements), generator=generator, dtype=torch.int32)
        result[start : start + len(elements)] = elements.index_select(0, order)
        start += len(elements)
    return result


def end(numbers: np.ndarray, wanted: int) -> tuple[int, float]:
    """Return where the `wanted` first elements end: a bin, and the part of its elements that are among them."""
    reached = np.cumsum(numbers[::-1])[::-1]
    last = int(np.flatnonzero(reached >= wanted)[-1])
    above = reached[last] - numbers[last]
    return last, float((wanted - above) / max(numbers[last], 1))


def taken(bins: np.ndarray, amounts: np.ndarray, last: int, part: float) -> np.ndarray:
    """Return what lies in the bins above `last`, with `part` of what lies in it; `amounts` [len(bins), ...]."""
    return amounts[bins > last].sum(axis=0) + part * amounts[bins == last].sum(axis=0)
