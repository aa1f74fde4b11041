"""The update without its small singular values, matrix by matrix; and the control that reverts as much uniformly."""

from sftlens.restoration.methods import METHODS, PostHoc, library
from sftlens.restoration.methods.interpolation import control

METHODS.add(
    PostHoc(
        "spectral",
        "Matrices go k % of the way to an update without singular values below the threshold of Gavish and Donoho",
        "DG-Hard, arXiv 2605.20296; the threshold: arXiv 1305.5870",
        make=lambda restorer, reverted, settings: library("spectral").Spectral(
            restorer.pair, restorer.cut.ratio, settings.seed
        ),
        own=True,
        uses=("seed",),
    )
)
METHODS.add(control("spectral"))
