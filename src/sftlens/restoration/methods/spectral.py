"""The update without its small singular values, matrix by matrix; and the control that reverts as much uniformly."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from sftlens.restoration.methods import METHODS, PostHoc
from sftlens.restoration.methods.interpolation import control

if TYPE_CHECKING:
    from sftlens.config.stages.restoration import RestorationSettings
    from sftlens.restoration.apply import Method, Restorer, Reverted


def make(restorer: "Restorer", reverted: "Callable[[], Reverted]", settings: "RestorationSettings") -> "Method":
    """Return the method that goes k % of the way to the update without its small singular values."""
    from sftlens.restoration.spectral import Spectral

    return Spectral(restorer.pair, restorer.cut.ratio, settings.seed)


METHODS.add(
    PostHoc(
        "spectral",
        "Matrices go k % of the way to an update without singular values below the threshold of Gavish and Donoho",
        "DG-Hard, arXiv 2605.20296; the threshold: arXiv 1305.5870",
        make,
        own=True,
        uses=("seed",),
    )
)
METHODS.add(control("spectral"))
