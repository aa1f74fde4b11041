"""Restoring the first k % of the elements by a criterion (paper section 6)."""

from sftlens.restoration.methods import METHODS, RESTORE, PostHoc

METHODS.add(
    PostHoc(
        RESTORE,
        "The first k % of the elements by the criterion get their pre-trained values",
        "arXiv 2509.16596, section 6",
        make=lambda restorer, reverted, settings: restorer,
    )
)
