"""Smallest |p| first, whatever changed: a control for the division by |p| in the paper's criterion.

Where p is near zero, |s - p| / |p| is large for a change of any size; this ranks by nearness to zero alone.
"""

from torch import Tensor

from sftlens.config.restoration import RestorationSettings
from sftlens.restoration.criteria.base import Criterion, ascending


def make(settings: RestorationSettings) -> Criterion:
    """Return the criterion `smallest`."""

    def keys(name: str, p: Tensor, s: Tensor, start: int = 0) -> Tensor:
        return ascending(p)

    return keys
