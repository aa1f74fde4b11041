"""Changes of several fine-tuned models side by side: how large each is, how much they point the same way, and how much
along another direction, such as the gradient of a loss; each cosine beside what it would be without any relation.

Two null models, of both the exact mean and SD, so that nothing need be drawn. With n elements in a tensor, of which a
vector x has the sum S(x) and the sum of squares Q(x), and C(x) = Q(x) - S(x)^2 / n:

- *permuted*: the elements of one vector are dealt out anew within each tensor, every order as likely as any other. Over
  these orders an inner product has the mean sum S(a) S(b) / n and the variance sum C(a) C(b) / (n - 1), the sums over
  tensors (Hoeffding, Ann. Math. Stat. 22, 1951, theorem 2). The norm is the same in every order.
- *random*: one vector has a random direction in each tensor, and its own norm there: mean 0, variance
  sum Q(a) Q(b) / n.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from sftlens.errors import ModelError
from sftlens.models.safetensors_reader import TensorFolder
from sftlens.restoration.pairs import Pair, aligned


@dataclass(frozen=True)
class Products:
    """Inner products of vectors over a region, each float64 [vectors, vectors]."""

    inner: np.ndarray
    permuted: np.ndarray
    """Their mean over all permutations of one vector's elements within each tensor."""
    permuted_sd: np.ndarray
    random_sd: np.ndarray
    """SD where one vector has a random direction in each tensor; their mean is 0."""


def products(pairs: Sequence[Pair], directions: Sequence[TensorFolder] = ()) -> Products:
    """Return the inner products of the changes d = s - p of some models, then of further vectors: one pass.

    The pairs are of one region, one base and equal pieces; `directions` have a tensor of the same shape for each of the
    region. Raises ModelError for NaN or Inf in the weights, and for a direction of other tensors.
    """
    further = [checked(aligned(folder, pairs[0].finetuned.names), pairs[0]) for folder in directions]
    count = len(pairs) + len(further)
    inner, permuted, variance, spread = np.zeros((4, count, count))
    for name in pairs[0].names:
        vectors = [folder.get(name).reshape(-1) for folder in further]
        size, sums, squares = pairs[0].size(name), np.zeros(count), np.zeros((count, count))
        tensors = (pair.of(name, pair.finetuned.get(name).to(pair.device)) for pair in pairs)
        for pieces in zip(*tensors, strict=True):
            place = slice(pieces[0].start, pieces[0].start + len(pieces[0].base))
            changes = [one.finetuned.double() - one.base.double() for one in pieces]
            rows = torch.stack([*changes, *(vector[place].to(changes[0].device).double() for vector in vectors)])
            squares += (rows @ rows.T).cpu().numpy()
            sums += rows.sum(dim=1).cpu().numpy()
        own = np.diag(squares)
        centred = own - sums**2 / size
        inner += squares
        permuted += np.outer(sums, sums) / size
        variance += np.outer(centred, centred) / max(size - 1, 1)
        spread += np.outer(own, own) / size
    return Products(inner, permuted, np.sqrt(variance), np.sqrt(spread))


def checked(direction: TensorFolder, pair: Pair) -> TensorFolder:
    """Return a vector that has the tensors of a region. Raises ModelError for any other."""
    for name in pair.names:
        if name not in direction.names or direction.shape(name) != pair.finetuned.shape(name):
            raise ModelError(
                f"{direction.folder}: has no tensor {name!r} of this model's shape; make it of the same base"
            )
    return direction


def cosines(products: np.ndarray) -> np.ndarray:
    """Return the cosines between changes from their inner `products`, [models, models]; NaN where one is zero."""
    return scaled(products, products)


def scaled(values: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Return `values` of inner products as cosines, by the norms that `products` hold; NaN where one is zero."""
    norms = np.sqrt(np.diag(products))
    scale = np.outer(norms, norms)
    return np.divide(values, scale, out=np.full_like(values, np.nan), where=scale > 0)


def table(found: Products, names: Sequence[str], models: int) -> pd.DataFrame:
    """Return a row for each two of the vectors `names`, of which the first `models` are changes, and for each with
    itself: the columns a, b, norm_a, norm_b, product, cosine, permuted_cosine, permuted_sd, random_sd. No nulls for a
    vector with itself, and no rows of further directions among themselves.
    """
    a, b = np.triu_indices(len(names))
    a, b = a[a < models], b[a < models]
    norms, labels = np.sqrt(np.diag(found.inner)), np.array(list(names))
    columns = {"a": labels[a], "b": labels[b], "norm_a": norms[a], "norm_b": norms[b], "product": found.inner[a, b]}
    columns["cosine"] = cosines(found.inner)[a, b]
    nulls = {"permuted_cosine": found.permuted, "permuted_sd": found.permuted_sd, "random_sd": found.random_sd}
    for name, values in nulls.items():
        columns[name] = np.where(a == b, np.nan, scaled(values, found.inner)[a, b])
    return pd.DataFrame(columns)
