"""Collecting the summaries of a study into one tidy table, results.parquet; which of them do not belong together."""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NotRequired

import numpy as np
import pandas as pd
from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from sftlens.config.study import Study
from sftlens.dag.cells import BASE, FEWSHOT, UNTRAINED, Cell, Product, distinct, way
from sftlens.dag.paths import Paths
from sftlens.dag.targets import Target
from sftlens.files import read_json
from sftlens.results.unfinished import made
from sftlens.runtime.provenance import COMPUTED, SCHEMA_VERSION
from sftlens.runtime.result_version import RESULT_VERSION
from sftlens.strategies import DEFAULT, STRATEGIES

COLUMNS = {
    "study": "str", "model": "str", "train_set": "str", "scale": "str", "seed": "int64", "strategy": "str",
    "stage": "str", "criterion": "str", "region": "str", "ratio": "float64", "split": "str", "bucket": "str",
    "relation": "str", "layer": "str", "module": "str",
    "metric": "str", "value": "float64", "n": "int64", "low": "float64", "high": "float64",
}  # fmt: skip
PACKAGES = ("torch", "transformers", "deepspeed")
"""Those whose versions may change a result."""
NAMED = 3


@with_config(ConfigDict(extra="allow"))
class Metric(TypedDict):
    """One number of a summary; further keys are its place (split, bucket, ...) and its interval."""

    metric: str
    value: float | None
    n: NotRequired[int | None]


class Summary(TypedDict):
    """What is read here of a stage's summary."""

    metrics: list[Metric]


def collect(study: Study, wanted: Iterable[Product] | None = None) -> tuple[pd.DataFrame, list[Product]]:
    """Return the rows of all summaries that exist, and the products that have none; `wanted` None: of the whole study.

    The table has COLUMNS, one row a number, in the order of the grid.
    """
    paths = Paths(study)
    rows: list[dict[str, Any]] = []
    missing: list[Product] = []
    for product in distinct(study) if wanted is None else wanted:
        path = Path(paths.summary(product))
        if not made(paths, product):
            missing.append(product)
            continue
        axes = {"study": study.study, **product.axes}
        rows += [{**axes, **row} for row in read_json(path, Summary)["metrics"]]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    for name, dtype in COLUMNS.items():
        if dtype == "str":
            table[name] = table[name].astype(object).where(table[name].notna(), "")
        elif dtype == "int64":
            table[name] = table[name].fillna(0)
        table[name] = table[name].astype(dtype)
    return table, missing


def parts(table: pd.DataFrame) -> Callable[[Iterable[Product]], pd.DataFrame]:
    """Return a function: some products of a tidy table -> the rows that belong to them, in the order of the table.

    What product a row belongs to is found once, for many choices.
    """
    # The ratios of a `changes` product are its rows' own; those of a restoration name the product.
    names = [name for name in Product("mastery", Cell("", "", "", 0, "")).axes if name != "ratio"]
    keyed = table[names].assign(ratio=table["ratio"].where(table["stage"] == "restore"))
    places = keyed.groupby([*names, "ratio"], sort=False, dropna=False).ngroup().to_numpy()
    distinct_rows = keyed.drop_duplicates().itertuples(index=False, name=None)
    known = [(*row, None if ratio != ratio else ratio) for *row, ratio in distinct_rows]

    def chosen(wanted: Iterable[Product]) -> pd.DataFrame:
        keys = {(*(p.axes[name] for name in names), p.ratio if p.stage == "restore" else None) for p in wanted}
        found = np.array([key in keys for key in known], dtype=bool)
        return table[found[places]].reset_index(drop=True)

    return chosen


def numbers(target: Target, source: Any) -> pd.DataFrame:
    """Return a target as a wide frame with one header row and no index of its own.

    `source` is the tidy table of a study, one row per number, which may be incomplete; `from_answers` the
    `answers.Answers` of a study. The frame has text columns that name a row, then numbers: accuracies and
    shares in percent, KL in nats; after a column `X` its `X SD` (over seeds, n - 1 in the denominator) or `X gain`
    (points). NaN where nothing was measured; no rows where the study has nothing for this target yet.
    """
    if target.from_answers:
        return target.build(source)
    # Rows of single relations are for readers of the tidy table; these targets show full fine-tuning.
    for strategy in set(source["strategy"]) - {"", *UNTRAINED}:
        STRATEGIES.get(way(strategy)[0])  # an unknown one is an error, not something to leave out
    rows = source[source["strategy"].isin(["", BASE, FEWSHOT, DEFAULT])]
    rows = rows if target.relations else rows[rows["relation"] == ""]
    return target.build(rows.dropna(subset=["value"]))


def notes(study: Study, products: Iterable[Product]) -> list[str]:
    """Return sentences on older results among those that exist, on versions of packages, on the types computed in.

    None where all agree. Older results come about where the workflow was told not to make them again (`--touch`,
    `--rerun-triggers mtime`).
    """
    older: list[str] = []
    versions: dict[str, Counter[str]] = {package: Counter() for package in PACKAGES}
    types: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    paths = Paths(study)
    for product in products:
        if made(paths, product):
            summary = read_json(Path(paths.summary(product)), dict[str, Any])
            now, then = RESULT_VERSION[product.stage], summary.get("result_version")
            if summary.get("schema") != SCHEMA_VERSION or then != now:
                what = f"{product.stage} {then}, now {now}" if then else f"{product.stage} without a version"
                older.append(f"{product.cell.path} ({what})")
            for package, version in summary.get("run", {}).get("packages", {}).items():
                if package in versions:
                    versions[package][version] += 1
            if computed := summary.get("run", {}).get(COMPUTED):
                types[product.stage == "finetune"][computed] += 1
    found = []
    if older:
        more = f" and {len(older) - NAMED} more" if len(older) > NAMED else ""
        found.append(
            f"{len(older)} result(s) were made by an older version and stand beside newer ones: "
            f"{', '.join(older[:NAMED])}{more}. Run the workflow to make them again."
        )
    mixed = {package: counts for package, counts in versions.items() if len(counts) > 1}
    if mixed:
        listed = (
            f"{package} {', '.join(f'{version} ({count} results)' for version, count in sorted(counts.items()))}"
            for package, counts in mixed.items()
        )
        found.append(f"Results were made with different versions of {'; '.join(listed)}.")
    for training, counts in types.items():
        if len(counts) > 1:
            said = ", ".join(f"{name} ({count} results)" for name, count in sorted(counts.items()))
            found.append(
                f"Models {'were trained' if training else 'answered'} in different types: {said}; near-ties go either "
                "way between them. Set compute_dtype to one of them, and run the workflow, to make all alike."
            )
    return found
