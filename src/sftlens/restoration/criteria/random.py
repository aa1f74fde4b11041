"""A seeded random order, a control: the key of an element is a hash of (seed, tensor name, flat index).

Random elements are also what DARE reverts (Yu et al., ICML 2024, arXiv 2311.03099), which rescales the others; here
nothing is rescaled.
"""

from sftlens.restoration.criteria import CRITERIA, Criterion, ranking

CRITERIA.add(
    Criterion(
        "random",
        "A seeded random order, a control",
        "arXiv 2311.03099",
        keys=lambda settings, name, p, s, start: ranking().hashed(settings.seed, name, start, p.numel(), p.device),
        uses=("seed",),
    )
)
