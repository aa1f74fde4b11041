"""Smallest relative change first: the reverse of the paper's criterion, a control."""

from sftlens.restoration.criteria import CRITERIA, Criterion, ranking

CRITERIA.add(
    Criterion(
        "bottom",
        "Smallest relative change first, the reverse of the paper's criterion",
        "arXiv 2509.16596, section 6",
        keys=lambda settings, name, p, s, start: ranking().ascending(ranking().signed_change_(p, s, settings.epsilon)),
        uses=("epsilon",),
    )
)
