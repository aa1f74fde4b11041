"""A change of equal size and random sign in the elements that `relative` restores: a null control.

Each element stays as far from the base as training took it, and nothing of the direction is left: noise of the very
sizes of the update, in its very places.
"""

from functools import partial

from sftlens.restoration.methods import METHODS, PostHoc, library

METHODS.add(
    PostHoc(
        "equal-size",
        "The elements that `relative` restores get a change of equal size and random sign, a null control",
        "a sign test's null model for every element",
        make=lambda restorer, reverted, settings: library("apply").Replaced(
            restorer,
            "a change of equal size and random sign, p + |s - p| or p - |s - p|",
            partial(library("apply").either, seed=settings.seed),
        ),
        matched="relative",
        against="the same elements with changes of equal size and random sign",
        uses=("seed",),
    )
)
