"""A change of equal size and random sign in the elements that `relative` restores: a null control.

Each element stays as far from the base as training took it, and nothing of the direction is left: noise of the very
sizes of the update, in its very places.
"""

from functools import partial
from typing import TYPE_CHECKING

from sftlens.restoration.methods import METHODS, PostHoc

if TYPE_CHECKING:
    from collections.abc import Callable

    from sftlens.config.stages.restoration import RestorationSettings
    from sftlens.restoration.apply import Method, Restorer, Reverted


def make(restorer: "Restorer", reverted: "Callable[[], Reverted]", settings: "RestorationSettings") -> "Method":
    """Return the method that gives the elements of the restoration's cut p + |s - p| or p - |s - p|, at random."""
    from sftlens.restoration.apply import Replaced, either

    words = "a change of equal size and random sign, p + |s - p| or p - |s - p|"
    return Replaced(restorer, words, partial(either, seed=settings.seed))


METHODS.add(
    PostHoc(
        "equal-size",
        "The elements that `relative` restores get a change of equal size and random sign, a null control",
        "a sign test's null model for every element",
        make,
        matched="relative",
        against="the same elements with changes of equal size and random sign",
        uses=("seed",),
    )
)
