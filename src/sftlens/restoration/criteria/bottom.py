"""Smallest relative change first: the reverse of the paper's criterion (arXiv 2509.16596, section 6), a control."""

from torch import Tensor

from sftlens.config.restoration import RestorationSettings
from sftlens.restoration.criteria.base import Criterion, ascending
from sftlens.restoration.criteria.relative import relative_change_


def make(settings: RestorationSettings) -> Criterion:
    """Return the criterion `bottom`."""

    def keys(name: str, p: Tensor, s: Tensor, start: int = 0) -> Tensor:
        return ascending(relative_change_(p, s, settings.epsilon))

    return keys
