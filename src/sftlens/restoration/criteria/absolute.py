"""Largest |s - p| first: a control without the division by |p|.

What is kept of a fine-tuned model is chosen by it in TIES-merging (Yadav et al., NeurIPS 2023, arXiv 2306.01708).
"""

from torch import Tensor

from sftlens.config.restoration import RestorationSettings
from sftlens.restoration.criteria.base import Criterion, descending


def make(settings: RestorationSettings) -> Criterion:
    """Return the criterion `absolute`."""

    def keys(name: str, p: Tensor, s: Tensor, start: int = 0) -> Tensor:
        return descending(s.sub_(p))

    return keys
