"""Zero in the elements that `relative` restores: a null control.

What removing these elements does, the fine-tuned and the pre-trained value alike: whether they matter at all.
`relative` ranks by |s - p| / |p|, so that it picks small p, which are near zero after restoring as well; where deleting
does no more harm than restoring, the pre-trained values themselves are not what restoring brings back.
"""

from typing import TYPE_CHECKING

from sftlens.restoration.methods import METHODS, PostHoc

if TYPE_CHECKING:
    from collections.abc import Callable

    from sftlens.config.stages.restoration import RestorationSettings
    from sftlens.restoration.apply import Method, Restorer, Reverted


def make(restorer: "Restorer", reverted: "Callable[[], Reverted]", settings: "RestorationSettings") -> "Method":
    """Return the method that sets the elements of the restoration's cut to 0."""
    from sftlens.restoration.apply import Replaced

    return Replaced(restorer, "0", lambda piece: piece.finetuned.new_zeros(len(piece.finetuned)))


METHODS.add(
    PostHoc(
        "deletion",
        "The elements that `relative` restores are set to 0, a null control",
        "pruning of the same elements; arXiv 2509.16596, section 6",
        make,
        matched="relative",
        against="the same elements set to 0",
    )
)
