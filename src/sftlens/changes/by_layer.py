"""Where the change lies, and where the restored part: by layer and module, beside their shares of the parameters."""

from collections.abc import Iterator

import pandas as pd

from sftlens.changes.concentration import SUMS, top

RATIO = 20.0
"""k of the paper's Tables 9 and 10, which do not say theirs: our choice."""
NULL = "null_"
"""Before the columns of the null model."""
SHARES = {
    "place_elements": "elements",
    "place_restored": top(RATIO),
    "place_null_restored": NULL + top(RATIO),
    **{f"place_{name}": name for name in SUMS},
}
"""Metric -> the column whose sum it is a share of."""


def metrics(tensors: pd.DataFrame) -> Iterator[dict[str, object]]:
    """Yield rows of metrics: for each layer and module its share (0..1) of the region's parameters, of the elements
    restored at RATIO, of the same under the null model, and of each of SUMS; and the share of its own elements that
    are unchanged. What is zero all over has no shares.

    Args:
        tensors: one row per tensor (see `concentration.Concentration`), with the null model's columns after NULL.
    """
    places = tensors.groupby(["layer", "module"], dropna=False, sort=True)
    for (layer, module), own in places:
        where = {"layer": "" if pd.isna(layer) else str(layer), "module": module, "n": int(own["elements"].sum())}
        for metric, column in SHARES.items():
            if total := float(tensors[column].sum()):
                ratio = {"ratio": RATIO} if "restored" in metric else {}
                yield {**where, **ratio, "metric": metric, "value": float(own[column].sum()) / total}
        yield {**where, "metric": "place_unchanged", "value": float(own["unchanged"].sum() / own["elements"].sum())}
