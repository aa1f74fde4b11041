"""A seeded random order, a control: the key of an element is a hash of (seed, tensor name, flat index).

Random elements are also what DARE reverts (Yu et al., ICML 2024, arXiv 2311.03099), which rescales the others; here
nothing is rescaled.
"""

from typing import TYPE_CHECKING

from sftlens.config.stages.restoration import RestorationSettings
from sftlens.restoration.criteria import CRITERIA, Criterion

if TYPE_CHECKING:
    from torch import Tensor


def keys(settings: RestorationSettings, name: str, p: "Tensor", s: "Tensor", start: int) -> "Tensor":
    """Return the keys, as `Criterion.__call__` says."""
    from sftlens.restoration import ranking

    return ranking.hashed(settings.seed, name, start, p.numel(), p.device)


CRITERIA.add(Criterion("random", "A seeded random order, a control", "arXiv 2311.03099", keys, uses=("seed",)))
