"""Uniform interpolation towards the base, a control: does it matter which elements are restored, or only how much?"""

from collections.abc import Callable
from functools import partial
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


def control(name: str) -> PostHoc:
    """Return the control of the method `name`: an interpolation that reverts as much of sum (s - p)^2 at the same k."""
    return PostHoc(
        f"{name}-control",
        f"All parameters move towards the base, until as much of sum (s - p)^2 is reverted as by `{name}`",
        f"the control of {name}",
        partial(make, matched=name),
        matched=name,
        against="as much of sum d^2 reverted",
        uses=("seed",),
    )


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
