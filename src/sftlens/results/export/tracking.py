"""Results as a local file store of MLflow: an experiment a study, a run a fine-tuned model with its training curves."""

import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sftlens import files
from sftlens.config.study import Study
from sftlens.dag.cells import Cell, Product
from sftlens.dag.paths import Paths
from sftlens.errors import ConfigError, DataError
from sftlens.results.runs import Summary, finished
from sftlens.runtime import events

BATCH = 1000
"""Metrics that MLflow takes at a time."""


def write(folder: Path, final: Path, study: Study, products: Iterable[Product]) -> int:
    """Write a store of files, which `mlflow migrate-filestore` turns into a database; return how many runs it holds.

    `final` is where the folder will lie: MLflow notes it. A run is a cell, the base model included; its parameters are
    the cell's axes and the settings of its training, its metrics the events of its training, step by step, and the
    metrics of its summaries, without those of single relations, layers and modules. Raises ConfigError where MLflow is
    not installed.
    """
    # It is not to tell anybody of this; and it asks to be told that a store of files, no database, is meant.
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ALLOW_FILE_STORE": "true"}
    try:
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.tracking import MlflowClient
    except ImportError:
        raise ConfigError("MLflow is not installed; pip install 'sftlens[mlflow]'") from None
    cells: dict[Cell, list[Product]] = {}
    for product in products:
        cells.setdefault(product.cell, []).append(product)
    client = MlflowClient(tracking_uri=folder.resolve().as_uri())
    # A store begins with an experiment of nothing, which would name this folder and not the final one.
    files.remove(folder / "0")
    experiment = client.create_experiment(study.study, artifact_location=(final.resolve() / "artifacts").as_uri())
    paths = Paths(study)
    for cell, measured in cells.items():
        params: dict[str, Any] = {**vars(cell)}
        tags, metrics, last = {"sftlens.cell": cell.path}, [], 0
        for product in measured:
            path = Path(paths.summary(product))
            summary: Summary = files.read_json(path, Summary)
            when = int(1000 * finished(path, summary))
            last = max(last, when)
            tags |= {f"sftlens.{product.stage}.{name}": text for name, text in summary.get("inputs", {}).items()}
            if product.stage == "finetune":
                params |= {f"finetune.{name}": value for name, value in summary.get("settings", {}).items()}
                log = Path(paths.log(product)).with_suffix(".jsonl")
                try:
                    metrics += [Metric(*point) for point in _curves(summary, log, when)]
                except (KeyError, TypeError, ValueError, ZeroDivisionError, IndexError) as error:
                    raise DataError(f"{log} or {path}: an event of the training is damaged ({error!r})") from None
            metrics += [Metric(name, value, when, 0) for name, value in _values(product, summary)]
        start = min([metric.timestamp for metric in metrics], default=last)
        run = client.create_run(experiment, start_time=start, run_name=cell.path)
        listed = [Param(name, str(value)[:6000]) for name, value in params.items()]
        client.log_batch(run.info.run_id, params=listed, tags=[RunTag(name, text) for name, text in tags.items()])
        for first in range(0, len(metrics), BATCH):
            client.log_batch(run.info.run_id, metrics=metrics[first : first + BATCH])
        client.set_terminated(run.info.run_id, end_time=last)
    return len(cells)


def _curves(summary: Summary, log: Path, when: int) -> Iterable[tuple[str, float, int, int]]:
    """Yield key, value, time (ms) and step of what happened in a training: from its log, else from its summary."""
    for event in events.read(log) or events.of(summary):
        at = int(1000 * event["time"]) if "time" in event else when
        if event["event"] == "during":
            yield f"during.{event['split']}.{event['bucket']}", event["right"] / event["n"], at, event["step"]
        else:
            for name in ("loss", "learning_rate", "gradient_norm", "steps_per_second"):
                if name in event and math.isfinite(event[name]):
                    prefix = "" if event["event"] == "step" else f"{event['event']}."
                    yield f"{prefix}{name}", float(event[name]), at, event["step"]


def _values(product: Product, summary: Summary) -> Iterable[tuple[str, float]]:
    place = ".".join([product.stage, *filter(None, (product.criterion, product.region))])
    for row in map(dict, summary.get("metrics", [])):
        value: Any = row.get("value")
        if value is None or not math.isfinite(value) or any(row.get(axis) for axis in ("relation", "layer", "module")):
            continue
        ratio = row.get("ratio", product.ratio)
        parts = [place, f"k{ratio:g}" if ratio is not None else "", row["metric"], row.get("split"), row.get("bucket")]
        yield re.sub(r"[^\w\-. /:]", "_", ".".join(str(part) for part in parts if part)), float(value)
