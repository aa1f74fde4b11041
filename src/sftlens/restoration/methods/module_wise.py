"""Queries and keys alone move towards the base; and the control that reverts as much uniformly."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from sftlens.restoration.methods import METHODS, PostHoc
from sftlens.restoration.methods.interpolation import control

if TYPE_CHECKING:
    from sftlens.config.stages.restoration import RestorationSettings
    from sftlens.restoration.apply import Method, Restorer, Reverted


def make(restorer: "Restorer", reverted: "Callable[[], Reverted]", settings: "RestorationSettings") -> "Method":
    """Return the method that moves the projections of queries and keys k % of the way to the base."""
    from sftlens.restoration.wise_ft import ModuleWise

    return ModuleWise(restorer.pair, restorer.cut.ratio, settings.seed)


METHODS.add(
    PostHoc(
        "module-wise",
        "The projections of queries and keys go k % of the way to the base, everything else stays",
        "QK-Restore, arXiv 2606.11052",
        make,
        own=True,
        uses=("seed",),
    )
)
METHODS.add(control("module-wise"))
