"""The page and the files beside it show the same numbers, of the experiment that each belongs to."""

import json
from pathlib import Path

import pandas as pd
import pytest
from study import copy_run

from sftlens import files, tasks
from sftlens.config import loading
from sftlens.dag import targets
from sftlens.results import collect, dictionary


def test_each_target_takes_the_rows_of_its_experiment(finished: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(finished)
    study = loading.load_file(Path("study.yaml"))
    results = pd.read_parquet("results/mini/results.parquet")
    for name, wanted in targets.wanted(study).items():
        alone, missing = collect.collect(study, wanted)
        assert not missing
        part = collect.parts(results)(wanted)
        key = list(results.columns)
        assert part.sort_values(key).to_csv(index=False) == alone.sort_values(key).to_csv(index=False), name


def test_measurements_of_a_model_that_is_to_be_made_anew_do_not_count(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = copy_run(finished, tmp_path / "repository")
    (run / "results/mini/tiny/mixed/n16/seed0/full/finetune.json").unlink()
    monkeypatch.chdir(run)
    study = loading.load_file(Path("study.yaml"))
    results, missing = collect.collect(study)
    assert {product.stage for product in missing} == {"finetune", "evaluate", "divergence", "changes", "restore"}
    assert not ((results["scale"] == "16") & (results["train_set"] == "mixed")).any()


def test_every_metric_of_a_real_table_is_described(finished: Path):
    results = pd.read_parquet(finished / "results/mini/results.parquet")
    assert list(results) == list(dictionary.AXES)
    found = set(results[["stage", "metric"]].drop_duplicates().itertuples(index=False, name=None))
    described = {(stage, metric) for stage, metrics in dictionary.METRICS.items() for metric in metrics}
    assert found <= described
    # This study has no quota, no task, no probabilities of answers, and no fact of D4 that is kept for the divergence.
    others = {"rebatched_output", "rebatched_contains"}  # of half precision alone
    others |= {"facts_in_full", "trials_share", "calibration_agreement"}  # of adaptive probing
    others |= {metric for task in tasks.TASKS for metric in task.judgements}
    others |= {
        "facts_probed",
        "stopped_after_step",
        *(metric for _, metric in described if "probab" in metric or metric.startswith("kl")),
    }
    assert {metric for _, metric in described - found} <= others


def test_every_log_says_something_and_every_training_each_of_its_steps(finished: Path):
    logs = finished / "results/mini/logs"
    assert [path for path in logs.rglob("*.log") if not path.stat().st_size] == []
    told = sorted(logs.rglob("finetune.jsonl"))
    assert len(told) == len(list(logs.rglob("finetune.log"))) > 0
    for path in told:
        steps = [event["step"] for event in map(json.loads, path.read_text().splitlines()) if event["event"] == "step"]
        made = files.read_json(finished / "results/mini" / path.parent.relative_to(logs) / "finetune.json")
        assert steps == list(range(1, len(made["losses"]) + 1))
