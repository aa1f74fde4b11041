"""Smallest |p| first, whatever changed: a control for the division by |p| in the paper's criterion.

Where p is near zero, |s - p| / |p| is large for a change of any size; this ranks by nearness to zero alone.
"""

from sftlens.restoration.criteria import CRITERIA, Criterion, ranking

CRITERIA.add(
    Criterion(
        "smallest",
        "Smallest |p| first, whatever changed, a control for the division by |p| in the paper's criterion",
        "arXiv 2509.16596, section 6",
        keys=lambda settings, name, p, s, start: ranking().ascending(p),
    )
)
