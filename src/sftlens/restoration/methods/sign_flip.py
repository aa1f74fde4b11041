"""The change of the elements that `relative` restores, with its sign turned: a null control.

If reverting a change helps because the change was wrong, going as far beyond the base must not help as much; if it
does, then what helps is that these elements no longer hold the change, whatever they hold instead. Negating a whole
update is how task vectors are subtracted (Ilharco et al., ICLR 2023, arXiv 2212.04089).
"""

from sftlens.restoration.methods import METHODS, PostHoc, library

METHODS.add(
    PostHoc(
        "sign-flip",
        "The elements that `relative` restores get their change with its sign turned, p - (s - p), a null control",
        "arXiv 2212.04089",
        make=lambda restorer, reverted, settings: library("apply").Replaced(
            restorer, "their change with its sign turned, p - (s - p)", library("apply").flipped
        ),
        matched="relative",
        against="the same elements with their change turned round",
    )
)
