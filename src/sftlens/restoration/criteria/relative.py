"""Largest relative change |s - p| / (|p| + epsilon) first: the paper's criterion (arXiv 2509.16596, section 6)."""

import torch
from torch import Tensor

from sftlens.config.restoration import RestorationSettings
from sftlens.restoration.criteria.base import Criterion, descending


def relative_change(base: Tensor, finetuned: Tensor, epsilon: float) -> Tensor:
    """Return |s - p| / (|p| + epsilon), fp32, computed in fp32 from stored values of any float dtype."""
    return relative_change_(base.to(torch.float32, copy=True), finetuned.to(torch.float32, copy=True), epsilon)


def relative_change_(p: Tensor, s: Tensor, epsilon: float) -> Tensor:
    """Return the same of fp32 `p` and `s`; it takes the place of `s`, and `p` is overwritten."""
    return _signed(p, s, epsilon).abs_()


def _signed(p: Tensor, s: Tensor, epsilon: float) -> Tensor:
    return s.sub_(p).div_(p.abs_().add_(epsilon))


def make(settings: RestorationSettings) -> Criterion:
    """Return the criterion `relative`."""

    def keys(name: str, p: Tensor, s: Tensor, start: int = 0) -> Tensor:
        return descending(_signed(p, s, settings.epsilon))

    return keys
