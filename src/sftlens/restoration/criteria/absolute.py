"""Largest |s - p| first: a control without the division by |p|.

What is kept of a fine-tuned model is chosen by it in TIES-merging (Yadav et al., NeurIPS 2023, arXiv 2306.01708).
"""

from sftlens.restoration.criteria import CRITERIA, Criterion, ranking

CRITERIA.add(
    Criterion(
        "absolute",
        "Largest |s - p| first, a control without the division by |p|",
        "arXiv 2306.01708",
        keys=lambda settings, name, p, s, start: ranking().descending(s.sub_(p)),
    )
)
