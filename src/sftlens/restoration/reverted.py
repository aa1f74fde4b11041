"""How much of the change a restoration reverts."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

import numpy as np

from sftlens.changes.concentration import SUMS, changes
from sftlens.errors import ModelError
from sftlens.restoration.apply import Method


@dataclass(frozen=True)
class Reverted:
    """Shares (0..1) of the region, sums in fp64; of a change that is zero nothing is reverted."""

    elements: float
    """Elements whose value is another than in the fine-tuned model: an element of a cut that training left alone
    is none of them."""
    sum_r: float
    """1 - sum of the remaining |s' - p| / (|p| + epsilon) by the sum of |s - p| / (|p| + epsilon)."""
    sum_abs_d: float
    """The same of |s - p|."""
    sum_d2: float
    """The same of (s - p)^2."""
    distance: float
    """l2 distance that remains to the base over the region; no share."""

    def metrics(self, elements: int) -> Iterator[dict[str, object]]:
        """Yield rows of metrics, of a region of `elements` elements."""
        for metric, value in (
            ("reverted_elements", self.elements),
            ("reverted_change", self.sum_r),
            ("reverted_abs_d", self.sum_abs_d),
            ("reverted_d2", self.sum_d2),
            ("distance_to_base", self.distance),
        ):
            yield {"metric": metric, "value": value, "n": elements}


def measure(method: Method, epsilon: float) -> Reverted:
    """Return what `method` reverts: one pass over both models.

    Raises:
        ModelError: NaN or Inf in the weights, or a sum too large for a number.
    """
    pair = method.pair
    before, after, moved = np.zeros(len(SUMS)), np.zeros(len(SUMS)), 0
    for piece in pair.pieces():
        restored = method.apply(piece)
        before += [float(values.sum()) for values in changes(piece.base, piece.finetuned, epsilon)]
        after += [float(values.sum()) for values in changes(piece.base, restored, epsilon)]
        moved += int((restored != piece.finetuned).sum())
    if not np.isfinite(before).all():
        raise ModelError(f"{pair.finetuned.folder}: the change overflows; fetch the model again")
    shares = 1 - np.divide(after, before, out=np.ones(len(SUMS)), where=before > 0)
    sum_r, sum_abs_d, sum_d2 = map(float, shares)
    return Reverted(moved / pair.elements(), sum_r, sum_abs_d, sum_d2, sqrt(after[-1]))
