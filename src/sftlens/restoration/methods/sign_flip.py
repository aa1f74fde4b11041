"""The change of the elements that `relative` restores, with its sign turned: a null control.

If reverting a change helps because the change was wrong, going as far beyond the base must not help as much; if it
does, then what helps is that these elements no longer hold the change, whatever they hold instead. Negating a whole
update is how task vectors are subtracted (Ilharco et al., ICLR 2023, arXiv 2212.04089).
"""

from typing import TYPE_CHECKING

from sftlens.restoration.methods import METHODS, PostHoc

if TYPE_CHECKING:
    from collections.abc import Callable

    from sftlens.config.stages.restoration import RestorationSettings
    from sftlens.restoration.apply import Method, Restorer, Reverted


def make(restorer: "Restorer", reverted: "Callable[[], Reverted]", settings: "RestorationSettings") -> "Method":
    """Return the method that gives the elements of the restoration's cut p - (s - p)."""
    from sftlens.restoration.apply import Replaced, flipped

    return Replaced(restorer, "their change with its sign turned, p - (s - p)", flipped)


METHODS.add(
    PostHoc(
        "sign-flip",
        "The elements that `relative` restores get their change with its sign turned, p - (s - p), a null control",
        "arXiv 2212.04089",
        make,
        matched="relative",
        against="the same elements with their change turned round",
    )
)
