"""The primary statistic of each claim, and its second conditions (METHOD: docs/claims.md; the words: claims.yaml).

A primary is one part or several that must all hold. Each works on any `Evidence`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from sftlens.data.buckets import BUCKETS
from sftlens.paper.claims import Specification
from sftlens.paper.evidence import Evidence, Missing, Part, Term
from sftlens.statistics.correlations import spearman

EQUIVALENT = 2.0
"""Points within which C5 takes the change as trained and the permuted one for equally concentrated."""
SPEARMAN = 0.5
MOST = 90.0
"""Share (%) of the sum of r that C6 asks for."""


def largest(evidence: Evidence, spec: Specification) -> int:
    """Return n*. Raises Missing without the small n, or where no larger one is filled by every bucket."""
    scales = [n for n in evidence.scales() if n <= spec.largest]
    if spec.small not in scales:
        raise Missing(f"n = {spec.small} is not filled by every bucket, or not in the grid")
    if scales[-1] == spec.small:
        raise Missing(f"no n above {spec.small} is filled by every bucket")
    return scales[-1]


def _mean(terms: Callable[[str], Sequence[Term]]) -> list[Term]:
    return [replace(term, weight=term.weight / len(BUCKETS)) for name in BUCKETS for term in terms(name)]


def _gain(name: str, n: int, k: float, weight: float = 1.0, criterion: str = "relative") -> list[Term]:
    return [Term(weight, name, n, k, criterion), Term(-weight, name, n)]


def _c1(evidence: Evidence, split: str, spec: Specification) -> Iterator[Part]:
    n = largest(evidence, spec)
    found = evidence.combine(_mean(lambda name: [Term(1, name, spec.small), Term(-1, name, n)]), split)
    yield replace(found, threshold=spec.delta)


def _c2(evidence: Evidence, split: str, spec: Specification) -> Iterator[Part]:
    last = largest(evidence, spec)
    for name in BUCKETS:
        for n in evidence.scales():
            if n != spec.small and n <= last:
                found = evidence.combine([Term(1, name, spec.small), Term(-1, name, n)], split)
                yield replace(found, threshold=-spec.delta, label=f"{name}, n = {n}")


def _c3(evidence: Evidence, split: str, spec: Specification) -> Iterator[Part]:
    n = largest(evidence, spec)
    yield replace(evidence.combine([Term(1, "D2", n), Term(-1, "D0", n)], split), threshold=spec.delta)


def _c4(evidence: Evidence, _: str, spec: Specification) -> Iterator[Part]:
    """Yield minus the correlation, so that like every part it must lie above its threshold.

    Bonett and Wright's variance (1 + r^2 / 2) / (N - 3), N being the cells less the bucket means taken out but one.
    """
    last = largest(evidence, spec)
    cells, seeds = evidence.divergence()
    cells = cells[cells["n"] <= last]
    groups = cells.groupby("train_set")[["kl", "accuracy"]]
    rest = cells[["kl", "accuracy"]] - groups.transform("mean")
    value = -spearman(rest["kl"], rest["accuracy"])[0]
    free = len(cells) - (cells["train_set"].nunique() - 1) - 3
    if free < 1 or math.isnan(value):
        raise Missing("too few cells for a correlation within buckets")
    se = math.sqrt((1 + value**2 / 2) / free)
    yield Part(value, se, math.inf, seeds, SPEARMAN, f"{len(cells)} cells", "fisher")


def _c5(evidence: Evidence, _: str, spec: Specification) -> Iterator[Part]:
    found = evidence.concentration(largest(evidence, spec), 1, BUCKETS, null=True)
    yield replace(found, threshold=EQUIVALENT)


def _c6(evidence: Evidence, _: str, spec: Specification) -> Iterator[Part]:
    for n in (spec.small, largest(evidence, spec)):
        for name in BUCKETS:
            share = evidence.concentration(n, spec.ratio, [name], null=False)
            yield replace(share, threshold=MOST, label=f"share of r (%), {name}, n = {n}")
            for split, short in (("test", "ID"), ("testood", "OOD")):
                found = evidence.combine(_gain(name, n, spec.ratio), split)
                yield replace(found, threshold=-spec.delta, label=f"{short} gain, {name}, n = {n}")


def _c7(evidence: Evidence, split: str, spec: Specification) -> Iterator[Part]:
    n = largest(evidence, spec)
    yield evidence.combine(_mean(lambda name: _gain(name, n, spec.ratio)), split)


def _c8(evidence: Evidence, split: str, spec: Specification) -> Iterator[Part]:
    n = largest(evidence, spec)
    lower = [*_gain("D0", n, spec.ratio), *_gain("D4", n, spec.ratio, -1)]
    yield replace(evidence.combine(lower, split), label=f"D0 - D4, n = {n}")
    more = _mean(lambda name: [*_gain(name, n, spec.ratio), *_gain(name, spec.small, spec.ratio, -1)])
    yield replace(evidence.combine(more, split), label=f"n = {n} - n = {spec.small}")


def _c10(evidence: Evidence, split: str, spec: Specification) -> Iterator[Part]:
    yield from evidence.tasks()


def _c11(evidence: Evidence, split: str, spec: Specification) -> Iterator[Part]:
    """Yield the mean of the middle blocks, all but the first and the last, minus the first one."""
    first, *middle, _ = evidence.blocks()
    if not middle:
        raise Missing("fewer than three blocks of layers")

    def terms(name: str) -> list[Term]:
        restored = [Term(1 / len(middle), name, spec.small, 100.0, "relative", region) for region in middle]
        return [*restored, Term(-1, name, spec.small, 100.0, "relative", first)]

    yield replace(evidence.combine(_mean(terms), split), threshold=spec.delta)


def _c12(evidence: Evidence, split: str, spec: Specification) -> Iterator[Part]:
    yield evidence.strategies(split)


PRIMARIES: dict[str, Callable[[Evidence, str, Specification], Iterator[Part]]] = {
    "C1": _c1, "C2": _c2, "C3": _c3, "C4": _c4, "C5": _c5, "C6": _c6,
    "C7": _c7, "C8": _c8, "C9": _c7, "C10": _c10, "C11": _c11, "C12": _c12,
}  # fmt: skip


def second(claim: str, evidence: Evidence, split: str, spec: Specification) -> str:
    """Return what the second conditions of a claim give, in words; empty for a claim without any. Raises Missing."""
    if claim == "C4":
        last, (cells, _) = largest(evidence, spec), evidence.divergence()
        table = cells.pivot_table("kl", "train_set", "n")
        first = min(table.columns)
        holds = (table[first] > table[spec.small]) & (table[last] > table[spec.small])
        return f"KL lowest at {spec.small}: {int(holds.sum())} of {len(table)} buckets"
    if claim == "C5":
        share = evidence.concentration(largest(evidence, spec), 1, BUCKETS, null=False)
        return f"share as printed: {share.value:.1f} %"
    if claim != "C7":
        return ""
    n = largest(evidence, spec)
    gains = [evidence.combine(_gain(name, n, spec.ratio), split).value for name in BUCKETS]
    found = f"{sum(gain > 0 for gain in gains)} of {len(gains)} buckets gain"
    try:
        against = _mean(lambda name: [Term(1, name, n, spec.ratio), Term(-1, name, n, spec.ratio, "interpolation")])
        part = evidence.combine(against, split)
    except Missing:
        return found
    low, high = part.interval(spec.alpha)
    return f"{found}; relative minus interpolation: {part.value:+.2f} ({low:+.2f} to {high:+.2f})"
