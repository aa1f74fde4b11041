"""Two halves of the examples: a setting is chosen on one and reported on the other."""

import hashlib
from collections.abc import Iterable

import numpy as np

from sftlens.errors import DataError

CHOOSING, REPORTING = "choosing", "reporting"
LEAST = 20
"""Examples that each half needs."""
SAFE = 60
"""As many examples nearly always make two large enough halves."""


def of(example_id: str) -> str:
    """Return the half of an example: it stays there whatever other examples there are."""
    return REPORTING if hashlib.sha256(f"half\0{example_id}".encode()).digest()[0] & 1 else CHOOSING


def split(example_ids: Iterable[str], source: str, what: str) -> np.ndarray:
    """Return the half of each example, text [examples].

    Raises DataError, naming `source`, when a half has fewer than LEAST of `what`.
    """
    found = np.array([of(example_id) for example_id in example_ids])
    sizes = [int((found == half).sum()) for half in (CHOOSING, REPORTING)]
    if min(sizes) < LEAST:
        raise DataError(
            f"{source}: {len(found)} {what} make halves of {sizes[0]} and {sizes[1]}, each needs at least {LEAST}; "
            f"give more ({SAFE} are nearly always enough, several hundred make the intervals useful)"
        )
    return found
