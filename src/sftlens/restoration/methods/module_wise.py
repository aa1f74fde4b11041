"""Queries and keys alone move towards the base; and the control that reverts as much uniformly."""

from sftlens.restoration.methods import METHODS, PostHoc, library
from sftlens.restoration.methods.interpolation import control

METHODS.add(
    PostHoc(
        "module-wise",
        "The projections of queries and keys go k % of the way to the base, everything else stays",
        "QK-Restore, arXiv 2606.11052",
        make=lambda restorer, reverted, settings: library("wise_ft").ModuleWise(
            restorer.pair, restorer.cut.ratio, settings.seed
        ),
        own=True,
        uses=("seed",),
    )
)
METHODS.add(control("module-wise"))
