"""Smallest |p| first, whatever changed: a control for the division by |p| in the paper's criterion.

Where p is near zero, |s - p| / |p| is large for a change of any size; this ranks by nearness to zero alone.
"""

from typing import TYPE_CHECKING

from sftlens.config.stages.restoration import RestorationSettings
from sftlens.restoration.criteria import CRITERIA, Criterion

if TYPE_CHECKING:
    from torch import Tensor


def keys(settings: RestorationSettings, name: str, p: "Tensor", s: "Tensor", start: int) -> "Tensor":
    """Return the keys, as `Criterion.__call__` says."""
    from sftlens.restoration import ranking

    return ranking.ascending(p)


CRITERIA.add(
    Criterion(
        "smallest",
        "Smallest |p| first, whatever changed, a control for the division by |p| in the paper's criterion",
        "arXiv 2509.16596, section 6",
        keys,
    )
)
