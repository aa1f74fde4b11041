"""Results as lm-evaluation-harness writes them: one folder a model, one JSON file in it.

Form: the results file of lm-evaluation-harness 0.4 (`lm_eval --output_path`): `results` holds, for each task,
`metric,filter` and `metric_stderr,filter`; beside it stand `configs`, `versions`, `n-shot`, `n-samples` and
`higher_is_better` by task, and the `date`.
"""

import math
import time
from pathlib import Path
from typing import Any

import pandas as pd

from sftlens import files
from sftlens.dag.cells import FEWSHOT, Product
from sftlens.dag.paths import Paths
from sftlens.data.buckets import BUCKETS
from sftlens.results.answers import ANSWERS
from sftlens.results.runs import Summary, finished

TASKS = {"test": "id", "testood": "ood"}
METRICS = ("contains", "word_boundary", "exact", "f1", "well_formed")


def write(folder: Path, paths: Paths, products: list[Product]) -> int:
    """Write each product that has answers to `folder`/<model>/results_<date>.json; return how many.

    A task is a test split (`sftlens_id`, `sftlens_ood`, a group) or one of its mastery buckets (`sftlens_id_d0`). The
    value of a group is the unweighted mean of its buckets, as everywhere in sftlens.
    """
    for product in products:
        path = Path(paths.summary(product))
        summary: Summary = files.read_json(path, Summary)
        settings = summary.get("settings", {})
        answers = files.read_parquet(path.with_name(ANSWERS))
        shots = int(settings.get("shots", 0)) if product.cell.strategy == FEWSHOT else 0
        made = _results(answers, summary.get("result_version", 0), shots)
        date = finished(path, summary)
        place = product.place.removesuffix("/evaluate").removeprefix("evaluate")
        name = "__".join(filter(None, f"{product.cell.path}/{place}".split("/")))
        inputs = summary.get("inputs", {})
        packages = summary.get("run", {}).get("packages", {})
        made |= {
            "config": {
                "model": "sftlens", "model_args": f"pretrained={name}", "batch_size": None, "device": None,
                "limit": None, "gen_kwargs": {"do_sample": False}, "model_sha": inputs.get("model", ""),
                "sftlens": {**product.axes, "ratio": product.ratio, "settings": settings, "inputs": inputs},
            },
            "git_hash": None, "date": date, "model_source": "sftlens", "model_name": name,
            "model_name_sanitized": name, "transformers_version": packages.get("transformers"),
            "total_evaluation_time_seconds": str(summary.get("run", {}).get("wall_seconds", "")),
        }  # fmt: skip
        files.write_json(folder / name / f"results_{time.strftime('%Y-%m-%dT%H-%M-%S', time.gmtime(date))}.json", made)
    return len(products)


def _results(answers: pd.DataFrame, version: int, shots: int) -> dict[str, Any]:
    metrics = [name for name in METRICS if name in answers]
    results: dict[str, dict[str, Any]] = {}
    sizes: dict[str, int] = {}
    groups: dict[str, list[str]] = {}
    for split, task in TASKS.items():
        rows = answers[answers["split"] == split]
        if rows.empty:
            continue
        found = {bucket: rows.loc[rows["bucket"] == bucket, metrics].astype("float64") for bucket in BUCKETS}
        found = {bucket: part for bucket, part in found.items() if len(part)}
        for bucket, part in found.items():
            name = f"sftlens_{task}_{bucket.lower()}"
            groups.setdefault(f"sftlens_{task}", []).append(name)
            sizes[name] = len(part)
            # As the harness does: the sample's SD, over the root of its size.
            errors = part.std(ddof=1) / math.sqrt(len(part))
            results[name] = _scores(f" - {bucket}", metrics, part.mean(), errors)
        means = pd.DataFrame({bucket: part.mean() for bucket, part in found.items()})
        spreads = pd.DataFrame({bucket: part.var(ddof=1) / len(part) for bucket, part in found.items()})
        whole = f"sftlens_{task}"
        sizes[whole] = len(rows)
        # The mean of five has a value only where there are five.
        means = means if len(found) == len(BUCKETS) else means * math.nan
        errors = spreads.sum(axis=1, skipna=False) ** 0.5 / len(found)
        results[whole] = _scores(whole, metrics, means.mean(axis=1), errors)
    names = list(results)
    config = {"dataset_path": "sftlens", "output_type": "generate_until", "num_fewshot": shots, "version": version}
    return {
        "results": results,
        "groups": {name: results[name] for name in groups},
        "group_subtasks": groups | {name: [] for name in names if name not in groups},
        "configs": {name: {"task": name, **config} for name in names if name not in groups},
        "versions": dict.fromkeys(names, version),
        "n-shot": dict.fromkeys(names, shots),
        "higher_is_better": {name: dict.fromkeys(metrics, True) for name in names},
        "n-samples": {name: {"original": sizes[name], "effective": sizes[name]} for name in names},
    }


def _scores(alias: str, metrics: list[str], values: pd.Series, errors: pd.Series) -> dict[str, Any]:
    found: dict[str, Any] = {"alias": alias}
    for name in metrics:
        for key, value in ((f"{name},none", values[name]), (f"{name}_stderr,none", errors[name])):
            found[key] = "N/A" if math.isnan(value) else float(value)
    return found
