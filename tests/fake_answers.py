"""A finished study of invented answers: for figures made from answers; nothing here was measured."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from repository import ROOT
from sftlens.config import loading
from sftlens.config.study import Study
from sftlens.dag import cells, contrasts
from sftlens.dag.paths import Paths
from sftlens.data.buckets import BUCKETS
from sftlens.data.relations import ID_RELATIONS, OOD_RELATIONS
from sftlens.files import write_json, write_parquet
from sftlens.results.answers import Answers
from sftlens.results.collect import collect

QUESTIONS = 300
GEOMETRY = {"layers": 2, "hidden_size": 8, "intermediate_size": 8, "heads": 2, "kv_heads": 2, "vocab_size": 9}


def study(**changed: Any) -> Study:
    """Return its configuration: one model, five training sets, two scales, three seeds, two ways of restoring."""
    config: dict[str, Any] = {
        "study": "invented",
        "templates": str(ROOT / "config/relations.yaml"),
        "models": {"one": {"source": "path", "path": "models/one", "geometry": GEOMETRY}},
        "scales": [60, 240],
        "seeds": [0, 1, 2],
        "experiments": {
            "scaling": {"shots": 0},
            "restoration": {"scales": [240], "ratios": [5, 20, 60], "criteria": ["relative", "interpolation"]},
        },
    }
    return loading.load(config | changed)


def make(chosen: Study) -> None:
    """Write mastery tables, answers and summaries of a study below the working folder."""
    paths = Paths(chosen)
    for product in cells.distinct(chosen):
        summary = Path(paths.summary(product))
        write_json(summary, {"metrics": []})
        if product.stage == "mastery":
            write_parquet(summary.with_name("mastery.parquet"), _mastery())
        elif product.stage in contrasts.ANSWERED:
            write_parquet(summary.with_name("answers.parquet"), _answered(product))


def answers(chosen: Study) -> Answers:
    """Return the answers of a study that `make` wrote."""
    results, _ = collect(chosen)
    return Answers(chosen, cells.distinct(chosen), results)


def _mastery() -> pd.DataFrame:
    known = {"train": ID_RELATIONS, "test": ID_RELATIONS, "testood": OOD_RELATIONS}
    return pd.DataFrame([
        {"fact_id": f"{split}/{i}", "split": split, "relation": names[i % len(names)], "bucket": BUCKETS[i % 5]}
        for split, names in known.items()
        for i in range(QUESTIONS)
    ])  # fmt: skip


def _answered(product: cells.Product) -> pd.DataFrame:
    """Return answers: a question has its own difficulty, and training on D0 loses what restoring gives back."""
    table, cell = _mastery(), product.cell
    difficulty = np.random.default_rng(0).random(len(table))
    level = table["bucket"].map(dict(zip(BUCKETS, (0.02, 0.2, 0.45, 0.65, 0.85), strict=True))).to_numpy()
    trained_on = {"D0": -0.2, "D1": -0.03, "D2": 0.08, "D3": 0.1, "D4": 0.03}.get(cell.train_set, 0)
    change = trained_on * (1 if cell.scale == "240" else 0.4)
    if product.ratio:
        change *= 1 - product.ratio / (80 if product.criterion == "relative" else 100)
    noise = np.random.default_rng(int(hashlib.sha256(product.path.encode()).hexdigest()[:8], 16)).normal(
        0, 0.05, len(table)
    )
    right = difficulty < level + change + noise
    return table[["fact_id", "split", "bucket"]].assign(output="x", contains=right, well_formed=True)
