"""Other tools read what a study found, and find the same numbers."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import DatasetCard

from repository import ROOT
from script_calls import ok, refused
from sftlens.config import loading
from sftlens.config.study import Study
from sftlens.dag import cells, paths, recorded
from sftlens.data.buckets import BUCKETS
from sftlens.files import write_json, write_parquet
from sftlens.runtime import events

GEOMETRY = {"layers": 2, "hidden_size": 8, "intermediate_size": 8, "heads": 2, "kv_heads": 2, "vocab_size": 9}
CONFIG: dict[str, Any] = {
    "study": "fake",
    "templates": str(ROOT / "config/relations.yaml"),  # the tests run in folders of their own
    "models": {"one": {"source": "path", "path": "models/one", "geometry": GEOMETRY}},
    "experiments": {
        "scaling": {"train_sets": ["D0"], "scales": [8], "seeds": [0], "shots": 0},
        "restoration": {"train_sets": ["D0"], "scales": [8], "seeds": [0], "ratios": [20]},
    },
}
LOSSES = [2.5, 1.25, 0.75]
RIGHT = np.tile([True, False, False], 20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a finished study of invented numbers."""
    made = tmp_path_factory.mktemp("study")
    before = Path.cwd()
    os.chdir(made)
    study = loading.load(CONFIG)
    recorded.record(study)
    where = paths.Paths(study)
    for product in cells.distinct(study):
        path = Path(where.summary(product))
        rows = [{"metric": "contains", "value": 0.25, "n": 60, "split": "test", "bucket": "macro"}]
        rows += [{"metric": "contains", "value": 0.5, "n": 6, "split": "test", "relation": "P1"}]
        summary = {
            "stage": product.stage, "result_version": 3, "settings": {"learning_rate": 0.001},
            "inputs": {"model": "abc"}, "losses": LOSSES, "learning_rates": [], "supervised_tokens": [],
            "gradient_norms": [], "metrics": rows, "run": {"finished": "2026-01-02 03:04:05", "wall_seconds": 1.0},
        }  # fmt: skip
        write_json(path, summary)
        if product.stage in ("evaluate", "restore"):
            write_parquet(path.with_name("answers.parquet"), answers())
        if product.stage == "finetune":
            with_times = [{**event, "time": 1000.5 + event["step"]} for event in events.of(summary)]
            log = Path(where.log(product)).with_suffix(".jsonl")
            log.parent.mkdir(parents=True)
            log.write_text("".join(json.dumps(event) + "\n" for event in with_times) + '{"event": "st')
    os.chdir(before)
    return made


def answers() -> pd.DataFrame:
    """Return one in three right, in every bucket of both splits."""
    rows = [{"fact_id": f"{split}/{i}", "split": split, "bucket": BUCKETS[i % 5]} for split in ("test", "testood")
            for i in range(60)]  # fmt: skip
    return pd.DataFrame(rows).assign(output="x", contains=np.tile(RIGHT, 2), f1=0.5, well_formed=True)


@pytest.fixture(autouse=True)
def there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def study() -> Study:
    return loading.load(CONFIG)


def test_lm_evaluation_harness(tmp_path: Path) -> None:
    ok("export.py", "fake", "--to", "lm-eval", "--out", tmp_path / "out")
    found = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.json"))
    when = "results_2026-01-02T03-04-05.json"
    assert found == [f"one__D0__n8__seed0__full/{when}",
                     f"one__D0__n8__seed0__full__restore__relative-transformer__k20/{when}",
                     f"one__base__n0__seed0__base/{when}"]  # fmt: skip
    made = json.loads((tmp_path / "out" / found[0]).read_text())
    scores = made["results"]["sftlens_id_d0"]
    part = answers().query("split == 'test' and bucket == 'D0'")["contains"].astype(float)
    assert scores["contains,none"] == pytest.approx(part.mean())
    assert scores["contains_stderr,none"] == pytest.approx(part.std(ddof=1) / len(part) ** 0.5)
    assert made["results"]["sftlens_id"]["contains,none"] == pytest.approx(1 / 3)
    # What its table of results looks up, for every task.
    for name, task in made["results"].items():
        assert made["versions"][name] == 3 and made["n-shot"][name] == 0
        assert {key.split(",")[0] for key in task} - {"alias"} == {
            f"{metric}{ending}" for metric in made["higher_is_better"][name] for ending in ("", "_stderr")
        }
        assert made["n-samples"][name]["effective"] == (12 if name[-2:] in ("d0", "d1", "d2", "d3", "d4") else 60)
    assert made["group_subtasks"]["sftlens_ood"] == [f"sftlens_ood_{name.lower()}" for name in BUCKETS]
    assert made["config"]["sftlens"]["seed"] == 0 and made["config"]["model_sha"] == "abc"


def test_hugging_face_dataset(tmp_path: Path) -> None:
    ok("export.py", "fake", "--to", "dataset", "--out", tmp_path / "out")
    card = DatasetCard.load(tmp_path / "out/README.md")
    files = {config["config_name"]: config["data_files"] for config in card.data.to_dict()["configs"]}
    read = {name: pd.concat(map(pd.read_parquet, (tmp_path / "out").glob(place))) for name, place in files.items()}
    assert len(read["results"]) == 2 * len(cells.distinct(study())) and "| `split` | str |" in card.text
    restored = read["answers"].query("stage == 'restore'")
    assert len(read["answers"]) == 3 * 120 and set(restored["ratio"]) == {20.0} and set(restored["model"]) == {"one"}


def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    ok("export.py", "fake", "--to", "mlflow", "--out", tmp_path / "out")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow.tracking import MlflowClient

    client = MlflowClient((tmp_path / "out").as_uri())
    experiment = client.get_experiment_by_name("fake")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"one", "one/base/n0/seed0/base", "one/D0/n8/seed0/full"}
    run = runs["one/D0/n8/seed0/full"]
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value, point.timestamp) for point in history] == [
        (step, loss, 1000500 + 1000 * step) for step, loss in enumerate(LOSSES, 1)
    ]
    assert run.data.params["finetune.learning_rate"] == "0.001" and run.data.params["train_set"] == "D0"
    assert run.data.metrics["restore.relative.transformer.k20.contains.test.macro"] == 0.25
    assert not any("P1" in name for name in run.data.metrics)
    assert run.data.tags["sftlens.evaluate.model"] == "abc" and run.info.status == "FINISHED"
    assert not list((tmp_path / "out").rglob("*partial*")) and "partial" not in experiment.artifact_location


def test_a_study_is_given_by_its_folder_from_anywhere(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ok("export.py", "fake", "--to", "dataset", "--out", tmp_path / "by name")
    wanted = {path.name: path.read_bytes() for path in (tmp_path / "by name").rglob("*.*")}
    for number, place in enumerate(("results/fake", "results/fake/results.parquet", "results/../results/fake/")):
        monkeypatch.chdir(tmp_path)
        ok("export.py", f"{folder}/{place}", "--to", "dataset", "--out", f"out{number}")
        assert {path.name: path.read_bytes() for path in (tmp_path / f"out{number}").rglob("*.*")} == wanted
    monkeypatch.chdir(tmp_path)
    ok("status.py", folder / "results/fake", "--html", "status.html")
    assert "Study fake" in (tmp_path / "status.html").read_text()
    monkeypatch.chdir(folder / "results")
    ok("status.py", "fake")  # a folder of this name lies here, and no results/fake
    assert "finetune" in capsys.readouterr().out
    for place in (folder, folder / "results", tmp_path / "nothing"):
        assert "no study lies there; give results/STUDY" in refused("status.py", place)
    monkeypatch.chdir(tmp_path)
    assert "results/fake/study.json" in refused("status.py", "fake")


def test_what_is_there_is_not_written_over_and_nothing_is_no_export(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "there").mkdir()
    assert "exists; give a new folder" in refused("export.py", "fake", "--to", "dataset", "--out", tmp_path / "there")
    monkeypatch.chdir(tmp_path)
    recorded.record(study())
    assert "nothing is finished" in refused("export.py", "fake", "--to", "lm-eval", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
