"""A model that is moved changes nothing: its results are found again, and nothing is computed (these runs are real)."""

import shutil
from pathlib import Path

from study import configure, copy_repository, planned, snakemake


def test_a_moved_model_keeps_its_results(finished: Path, tmp_path: Path, config: dict):
    folder = copy_repository(tmp_path / "repository")
    checkpoint = next((finished / "results/models/tiny").glob("base-*/checkpoint"))
    shutil.copytree(checkpoint, tmp_path / "model")
    templates = next((finished / "results/models/tiny").glob("base-*/templates-*.yaml"))
    entry = {**config["models"]["tiny"], "source": "path", "path": str(tmp_path / "model"), "templates": str(templates)}
    config |= {"models": {"tiny": entry}}
    config["experiments"] = {
        "scaling": {"train_sets": ["mixed"], "scales": [8], "seeds": [0], "shots": 0},
        "divergence": {"train_sets": ["mixed"], "scales": [8], "seeds": [0]},
    }
    configure(folder, config)
    snakemake(folder)
    root = folder / "results/mini"
    before = {path: path.read_bytes() for path in [root / "results.parquet", *root.rglob("*.csv")]}

    (tmp_path / "model").rename(tmp_path / "moved")
    entry["path"] = str(tmp_path / "moved")
    configure(folder, config)
    plan = planned(folder)
    assert plan["base"] == 1 and not plan.keys() & {"facts", "world"}
    snakemake(folder)
    for stage in ("mastery-*", "finetune", "evaluate", "divergence"):
        logs = list((root / "logs/tiny").rglob(f"{stage}.log"))
        assert logs and all("the finished result was published" in log.read_text() for log in logs), stage
    assert before == {path: path.read_bytes() for path in before}
    assert planned(folder) == {}
