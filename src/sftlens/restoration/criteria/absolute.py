"""Largest |s - p| first: a control without the division by |p|.

What is kept of a fine-tuned model is chosen by it in TIES-merging (Yadav et al., NeurIPS 2023, arXiv 2306.01708).
"""

from typing import TYPE_CHECKING

from sftlens.config.stages.restoration import RestorationSettings
from sftlens.restoration.criteria import CRITERIA, Criterion

if TYPE_CHECKING:
    from torch import Tensor


def keys(settings: RestorationSettings, name: str, p: "Tensor", s: "Tensor", start: int) -> "Tensor":
    """Return the keys, as `Criterion.__call__` says."""
    from sftlens.restoration import ranking

    return ranking.descending(s.sub_(p))


CRITERIA.add(
    Criterion("absolute", "Largest |s - p| first, a control without the division by |p|", "arXiv 2306.01708", keys)
)
