"""Post-hoc methods: how a fine-tuned model is moved back towards its base without training; one small file each.

A file of this package registers a `PostHoc`. `restore` reverts the first elements by the criterion that is chosen;
every other method is chosen by its name instead of a criterion. It goes k % of a way of its own, or as far as reverts
as much as the first k % by some criterion, or as another method at k %.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sftlens.registry import Registry, unknown
from sftlens.restoration.criteria import CRITERIA, Criterion

if TYPE_CHECKING:
    from sftlens.config.stages.restoration import RestorationSettings
    from sftlens.restoration.apply import Method, Restorer, Reverted

RESTORE = "restore"


@dataclass(frozen=True)
class PostHoc:
    """One way to move a fine-tuned model towards its base."""

    name: str
    description: str
    """One sentence, for --help, model cards and docs."""
    reference: str
    make: Callable[[Restorer, Callable[[], Reverted], RestorationSettings], Method]
    """(restoration of the first k % by the criterion, how much of the update this reverts, settings) -> the method."""
    matched: str = ""
    """Criterion whose first k % say how far the method goes, or method; none: the criterion that is chosen."""
    own: bool = False
    """Whether it goes k % of a way of its own instead, and ranks nothing."""
    against: str = ""
    """What is the same as in that restoration, for contrasts of the two."""
    uses: tuple[str, ...] = ()
    """Fields of RestorationSettings that it depends on, besides those of its criterion."""
    stream: str = ""
    """What names its random numbers, where this is not its name."""

    @property
    def ranked(self) -> bool:
        """Whether elements must be ranked for it."""
        return not self.own and self.matched in ("", *CRITERIA.names())


METHODS: Registry[PostHoc] = Registry("post-hoc method", __name__, key=lambda m: (m.name != RESTORE, m.name))


def library(module: str) -> Any:
    """Return a module of `restoration`, loaded when a method is made: methods are listed where torch is not."""
    return import_module(f"sftlens.restoration.{module}")


def matched() -> list[PostHoc]:
    """Return the methods that are chosen by their name."""
    return [method for method in METHODS if method.matched or method.own]


def choices() -> list[str]:
    """Return what `criteria` and --criterion may be: the criteria, then the methods that are chosen by name."""
    return [*CRITERIA.names(), *(method.name for method in matched())]


def descriptions() -> dict[str, str]:
    """Return each of `choices` with its description."""
    return {entry.name: entry.description for entry in (*CRITERIA, *matched())}


@cache
def chosen(name: str) -> tuple[PostHoc, Criterion]:
    """Return the method and the criterion behind one of `choices`; `relative` stands in where nothing is ranked.

    Raises ConfigError for any other name.
    """
    if name not in choices():
        raise unknown("criterion", name, choices())
    method = METHODS.get(name if name not in CRITERIA.names() else RESTORE)
    return method, CRITERIA.get((method.matched or name) if method.ranked else "relative")


def uses(name: str) -> list[str]:
    """Return the fields of RestorationSettings that one of `choices` depends on."""
    method, criterion = chosen(name)
    return [*(criterion.uses if method.ranked else ()), *method.uses]


def ranking(name: str) -> str:
    """Return the criterion whose ranking one of `choices` rests on; "" where it ranks nothing."""
    method, criterion = chosen(name)
    return criterion.name if method.ranked else ""
