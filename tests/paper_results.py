"""The paper's printed numbers in the shape of results.parquet: what a study would hold that measured just these."""

import numpy as np
import pandas as pd

from sftlens.data.buckets import BUCKETS
from sftlens.paper.printed import read

SEEDS = 5
SPLITS = {"ID": "test", "OOD": "testood"}
_Z = np.array([-1.0, -0.5, 0.0, 0.5, 1.0]) / np.std([-1.0, -0.5, 0.0, 0.5, 1.0], ddof=1)
_EMPTY = {
    "study": "paper", "seed": 0, "strategy": "full", "criterion": "", "region": "", "ratio": float("nan"), "split": "",
    "bucket": "", "relation": "", "layer": "", "module": "", "n": 100, "low": float("nan"), "high": float("nan"),
}  # fmt: skip


def name(model: str) -> str:
    """Return what config/paper.yaml calls a model of the paper."""
    return model.lower()


def _seeds(mean: float, sd: float, scale: str, **row: object) -> list[dict[str, object]]:
    """Return rows whose mean and SD over seeds are those; `all` has one run."""
    values = [mean] if scale == "all" else mean + sd * _Z
    return [{**_EMPTY, "scale": scale, "seed": i, **row, "value": value} for i, value in enumerate(values)]


def scaling() -> pd.DataFrame:
    """Figures 2, 4, 5 and 6; Figure 5 has no band."""
    rows = []
    for _, point in read("figures").iterrows():
        scale, kind = str(point["n_train"]).replace("All", "all"), point["figure"][:4]
        model, _, split = point["panel"].rpartition(" ") if kind in ("Fig2", "Fig6") else ("LLaMA-3-8B", "", "ID")
        row = {"model": name(model), "train_set": point["train_bucket"], "split": SPLITS[split]}
        if kind == "Fig5":
            row |= {"stage": "divergence", "metric": "kl", "bucket": "D4"}
        else:
            row |= {"stage": "evaluate", "metric": "contains", "bucket": "D4" if kind == "Fig4" else "macro"}
        unit = 1 if kind == "Fig5" else 100
        rows += _seeds(point["mean"] / unit, float(np.nan_to_num(point["half_band"])) / unit, scale, **row)
    return pd.DataFrame(rows)


def buckets() -> pd.DataFrame:
    """Table 2; its SDs are not all those of the figures."""
    rows = []
    for _, line in read("table2").iterrows():
        for short, split in (("test", "test"), ("ood", "testood")):
            columns = {bucket: f"{short}{i}" for i, bucket in enumerate(BUCKETS)} | {"macro": f"Acc_{short}"}
            for bucket, column in columns.items():
                row = {"model": name(line["model"]), "train_set": line["train"], "split": split, "bucket": bucket}
                mean, sd = line[column] / 100, line[f"{column}_sd"] / 100
                rows += _seeds(mean, sd, "1920", stage="evaluate", metric="contains", **row)
    return pd.DataFrame(rows)


def parameters() -> pd.DataFrame:
    """Tables 3 and 4, single runs of LLaMA-3-8B."""
    rows = []
    cell = {**_EMPTY, "model": "llama-3-8b", "criterion": "relative", "region": "transformer"}
    for _, line in read("table3").iterrows():
        for top in ("1%", "3%", "5%", "10%", "20%", "40%", "60%"):
            where = {"scale": str(line["n_train"]), "train_set": line["train"], "ratio": float(top[:-1])}
            rows.append({**cell, **where, "stage": "changes", "metric": "share_of_change", "value": line[top] / 100})
    for _, line in read("table4").iterrows():
        for column in list(line.index)[2:]:
            split, bucket = column.split("_")
            where = {"scale": str(line["n_train"]), "train_set": bucket, "split": SPLITS[split], "bucket": "macro"}
            where |= {"metric": "contains", "value": line[column] / 100}
            if line["restore"] == "0":
                rows.append({**cell, **where, "stage": "evaluate", "criterion": "", "region": ""})
            else:
                rows.append({**cell, **where, "stage": "restore", "ratio": float(line["restore"][:-1])})
    return pd.DataFrame(rows)
