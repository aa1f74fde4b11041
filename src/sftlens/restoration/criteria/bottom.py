"""Smallest relative change first: the reverse of the paper's criterion, a control."""

from typing import TYPE_CHECKING

from sftlens.config.stages.restoration import RestorationSettings
from sftlens.restoration.criteria import CRITERIA, Criterion

if TYPE_CHECKING:
    from torch import Tensor


def keys(settings: RestorationSettings, name: str, p: "Tensor", s: "Tensor", start: int) -> "Tensor":
    """Return the keys, as `Criterion.__call__` says."""
    from sftlens.restoration import ranking

    return ranking.ascending(ranking.signed_change_(p, s, settings.epsilon))


CRITERIA.add(
    Criterion(
        "bottom",
        "Smallest relative change first, the reverse of the paper's criterion",
        "arXiv 2509.16596, section 6",
        keys,
        uses=("epsilon",),
    )
)
