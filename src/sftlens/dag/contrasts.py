"""What is compared with what: cells that differ in their seed alone, and the contrasts between them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal, get_args

from sftlens.dag.cells import BASE, Product, full, number
from sftlens.restoration.methods import matched

ANSWERED = ("evaluate", "restore")
"""Stages that leave one answer per question."""
Pairing = Literal["fixed", "seeds", "questions", "common facts"]
PAIRINGS = get_args(Pairing)


@dataclass(frozen=True)
class Condition:
    """Everything that names an accuracy but for the seed; `ratio` is None without restoration."""

    model: str
    train_set: str
    scale: str
    strategy: str
    criterion: str = ""
    region: str = ""
    ratio: float | None = None

    @property
    def trained(self) -> bool:
        """Whether it has training runs, and seeds, of its own."""
        return self.scale != "0"


@dataclass(frozen=True)
class Contrast:
    """`condition` minus `reference`."""

    condition: Condition
    reference: Condition
    against: str
    """The reference in words, by what sets it apart."""
    pairing: Pairing
    """`fixed`: the reference has no seeds; `seeds`: the same seeds; `questions`: seeds of their own; `common facts`:
    seeds of their own, and the facts that two models share."""


def conditions(products: Iterable[Product]) -> dict[Condition, dict[int, Product]]:
    """Return the answered products by condition and seed, in the order of the grid."""
    found: dict[Condition, dict[int, Product]] = {}
    for product in products:
        if product.stage in ANSWERED:
            axes = {name: value for name, value in product.axes.items() if name not in ("seed", "stage")}
            found.setdefault(Condition(**axes), {})[product.cell.seed] = product
    return found


def contrasts(grid: Iterable[Condition]) -> list[Contrast]:
    """Return the contrasts of a grid by kind: a function of its conditions and of nothing measured.

    Every trained model against its base, against the smallest n of its training set and strategy, against the one
    trained as much on D0, and against full fine-tuning at its learning rate; every restored model against the same
    unrestored, and against a method matched to it (interpolation towards the base); and every two base models, and
    every two trained alike at the largest numbered n that both have.
    """
    known = dict.fromkeys(grid)
    smallest: dict[Condition, str] = {}
    for condition in sorted(filter(_numbered, known), key=lambda c: int(c.scale)):
        smallest.setdefault(replace(condition, scale=""), condition.scale)
    found: list[Contrast] = []
    for one in known:
        plain = replace(one, criterion="", region="", ratio=None)
        if one != plain:
            found.append(Contrast(one, plain, "k = 0", "seeds"))
            for method in matched():
                if method.matched == one.criterion:
                    same = f"{method.name}, {method.against}"
                    found.append(Contrast(one, replace(one, criterion=method.name), same, "seeds"))
        elif one.trained:
            first = smallest.get(replace(one, scale=""), one.scale)
            found.append(Contrast(one, Condition(one.model, BASE, "0", BASE), "Base model (n = 0)", "fixed"))
            found.append(Contrast(one, replace(one, scale=first), f"n = {first}", "seeds"))
            found.append(Contrast(one, replace(one, train_set="D0"), "D0", "questions"))
            found.append(Contrast(one, replace(one, strategy=full(one.strategy)), "full, same learning rate", "seeds"))
    found = [contrast for contrast in found if contrast.reference in known and contrast.reference != contrast.condition]
    found.sort(key=lambda c: (c.condition.ratio is not None, PAIRINGS.index(c.pairing)))
    # Two models are compared where they were trained alike, at the largest numbered n that both have.
    alike: dict[Condition, list[Condition]] = {}
    for condition in known:
        if condition.ratio is None:
            alike.setdefault(replace(condition, model=""), []).append(condition)
    pairs = [(a, b) for group in alike.values() for b, a in combinations(group, 2)]
    largest: dict[tuple[str, str], int] = {}
    for a, b in pairs:
        if _numbered(a):
            largest[a.model, b.model] = max(int(a.scale), largest.get((a.model, b.model), 0))
    return found + [
        Contrast(a, b, f"{b.model}, common facts", "common facts")
        for a, b in pairs
        if not a.trained or a.scale == str(largest.get((a.model, b.model)))
    ]


def _numbered(condition: Condition) -> bool:
    return condition.ratio is None and condition.trained and condition.scale.isdigit()


def restored(condition: Condition) -> str:
    """Return k in percent as text; empty for a base model."""
    return number(condition.ratio or 0) if condition.trained else ""
