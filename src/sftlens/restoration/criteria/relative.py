"""Largest relative change |s - p| / (|p| + epsilon) first: the paper's criterion (arXiv 2509.16596, section 6)."""

from sftlens.restoration.criteria import CRITERIA, Criterion, ranking

CRITERIA.add(
    Criterion(
        "relative",
        "Largest relative change |s - p| / (|p| + epsilon) first, the paper's criterion",
        "arXiv 2509.16596, section 6",
        keys=lambda settings, name, p, s, start: ranking().descending(ranking().signed_change_(p, s, settings.epsilon)),
        uses=("epsilon",),
    )
)
