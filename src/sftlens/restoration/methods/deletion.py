"""Zero in the elements that `relative` restores: a null control.

What removing these elements does, the fine-tuned and the pre-trained value alike: whether they matter at all.
`relative` ranks by |s - p| / |p|, so that it picks small p, which are near zero after restoring as well; where deleting
does no more harm than restoring, the pre-trained values themselves are not what restoring brings back.
"""

from sftlens.restoration.methods import METHODS, PostHoc, library

METHODS.add(
    PostHoc(
        "deletion",
        "The elements that `relative` restores are set to 0, a null control",
        "pruning of the same elements; arXiv 2509.16596, section 6",
        make=lambda restorer, reverted, settings: library("apply").Replaced(restorer, "0", library("apply").zeros),
        matched="relative",
        against="the same elements set to 0",
    )
)
