"""Uniform interpolation towards the base, a control: does it matter which elements are restored, or only how much?"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from sftlens.restoration.methods import METHODS, PostHoc

if TYPE_CHECKING:
    from sftlens.config.stages.restoration import RestorationSettings
    from sftlens.restoration.apply import Method, Restorer, Reverted


def make(
    restorer: "Restorer", reverted: "Callable[[], Reverted]", settings: "RestorationSettings", matched: str = ""
) -> "Method":
    """Return the interpolation that reverts as much of sum (s - p)^2 as was reverted (by the method `matched`)."""
    from sftlens.restoration.wise_ft import Interpolation, factor

    pair, ratio = restorer.pair, restorer.cut.ratio
    words = f"`{matched}` at k = {ratio:g} %" if matched else ""
    return Interpolation(pair, factor(pair, reverted()), settings.seed, ratio=ratio, matched=words)


METHODS.add(
    PostHoc(
        "interpolation",
        "All parameters move towards the base, until as much of sum (s - p)^2 is reverted as by `relative` (WiSE-FT)",
        "Wortsman et al., CVPR 2022, arXiv 2109.01903",
        make,
        matched="relative",
        against="as much of sum d^2 reverted",
        uses=("seed",),
        stream="shrink",  # its earlier name, so that its results stay what they were
    )
)
