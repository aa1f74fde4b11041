"""A finished study of invented answers that compares strategies, in the current folder: for tests of its tables."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from repository import ROOT
from sftlens.config import loading
from sftlens.config.study import Study
from sftlens.dag import cells, contrasts, recorded
from sftlens.dag.paths import Paths
from sftlens.data.buckets import BUCKETS
from sftlens.files import write_json, write_parquet

GEOMETRY = {"layers": 2, "hidden_size": 8, "intermediate_size": 8, "heads": 2, "kv_heads": 2, "vocab_size": 9}
CONFIG: dict[str, Any] = {
    "study": "compared",
    "templates": str(ROOT / "config/relations.yaml"),
    "models": {"one": {"source": "path", "path": "models/one", "geometry": GEOMETRY}},
    "evaluation": {"dev_facts": 20},
    "scales": [8],
    "seeds": [0, 1, 2],
    "experiments": {
        "strategies": {
            "train_sets": ["mixed"],
            "strategies": ["full", "kl", "masked"],
            "learning_rates": [3e-5],
            "criteria": ["relative"],
            "ratios": [20, 60],
        }
    },
}
RUN = {"peak_memory_bytes": 5e8, "training_seconds": 9.0, "training_cpu_seconds": 2.0, "restoring_cpu_seconds": 0.5}


def mastery() -> pd.DataFrame:
    """Return 60 questions a split."""
    splits = ("train", "test", "testood")
    rows = [(f"{s}/{i}", s, f"P{i % 4}", BUCKETS[i % 5]) for s in splits for i in range(60)]
    return pd.DataFrame(rows, columns=["fact_id", "split", "relation", "bucket"])


def metrics(product: cells.Product) -> list[dict[str, Any]]:
    """Return what was measured: dev prefers learning rate 3e-05 and k = 60 %, test the others."""
    better = product.cell.strategy.endswith("@3e-05") or product.ratio == 60
    place = {"metric": "contains", "relation": "", "n": 60}
    found = [{**place, "split": "dev", "bucket": "all", "value": 0.5 + 0.1 * better}]
    found += [{**place, "split": "train", "bucket": "all", "value": 0.8 + 0.01 * product.cell.seed}]
    found += [
        {**place, "split": split, "bucket": "macro", "value": 0.4 - 0.1 * better} for split in ("test", "testood")
    ]
    if product.stage == "divergence":
        return [{"metric": "kl", "split": "test", "bucket": "D4", "value": 1.25}]
    if product.stage == "changes":
        return [{"metric": "distance_to_base", "criterion": "relative", "region": "transformer", "value": 3.0}]
    return found if product.stage in contrasts.ANSWERED else [{"metric": "examples", "value": 8.0}]


def make(config: dict[str, Any]) -> tuple[Study, Paths]:
    """Write the results of a study; answers are right with a chance of 0.4, which no setting changes."""
    study = loading.load(config)
    paths = Paths(study)
    recorded.record(study)
    for product in cells.distinct(study):
        summary = Path(paths.summary(product))
        write_json(summary, {"metrics": metrics(product), "run": RUN})
        if product.stage == "mastery":
            write_parquet(summary.with_name("mastery.parquet"), mastery())
        elif product.stage in contrasts.ANSWERED:
            seed = int(hashlib.sha256(product.path.encode()).hexdigest()[:8], 16)
            right = np.random.default_rng(seed).random(180) < 0.4
            write_parquet(summary.with_name("answers.parquet"), mastery().assign(contains=right))
    return study, paths
