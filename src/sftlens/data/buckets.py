"""The five mastery buckets D0..D4 (paper section 2): the one definition that every room uses."""

import math

BUCKETS = ("D0", "D1", "D2", "D3", "D4")
MIXED = "mixed"
"""The training set of all of them."""


def bucket(mastery: float) -> str:
    """Return the bucket of a mastery R in [0, 1]: D0 is R = 0, then quarters closed above.

    >>> bucket(0.0), bucket(0.25), bucket(0.2500001), bucket(1.0)
    ('D0', 'D1', 'D2', 'D4')
    """
    return BUCKETS[math.ceil(mastery * 4)]
