"""The same DAG on the real EntityQuestions files, with a tiny model pretrained on statements of a sample of them."""

import os
from pathlib import Path

import pandas as pd
import pytest
import yaml
from study import REPOSITORY, configure, copy_repository, planned, snakemake

pytestmark = pytest.mark.skipif(
    not os.environ.get("ENTITY_QUESTIONS_DIR"),
    reason="ENTITY_QUESTIONS_DIR is not set: the study on the real EntityQuestions files was NOT run",
)


def shrunk() -> dict:
    """The shipped configuration with fewer facts and a smaller grid, so that it fits into the tests."""
    config = yaml.safe_load((REPOSITORY / "config/entityquestions-tiny.yaml").read_text())
    config["facts"]["sample"].update(train=20, dev=2, test=6, testood=4)
    config["world"] = {**config.get("world", {}), "extra": 10, "calibration": 2, "extra_questions": 8}
    config["models"]["tiny"]["geometry"].update(vocab_size=2000, hidden_size=64, intermediate_size=128)
    config["probing"] = {**config.get("probing", {}), "samples": 4, "max_new_tokens": 8}
    config["experiments"] = {
        "scaling": {"train_sets": ["mixed"], "scales": [16], "shots": 2},
        "divergence": {"train_sets": ["mixed"], "scales": [16]},
        "restoration": {"train_sets": ["mixed"], "scales": [16], "ratios": [20]},
    }
    return config


def test_the_study_runs_on_the_real_files(tmp_path: Path):
    folder = copy_repository(tmp_path / "repository")
    config = shrunk()
    configure(folder, config)
    snakemake(folder)
    root = folder / "results" / config["study"]
    results = pd.read_parquet(root / "results.parquet")
    facts = results[(results["stage"] == "mastery") & (results["metric"] == "facts")]
    # 10 in-domain relations in train and test, 14 out-of-domain ones.
    assert facts.groupby("split")["value"].sum().to_dict() == {"train": 200, "test": 60, "testood": 56}
    accuracy = results[(results["stage"] == "evaluate") & (results["bucket"] == "all")]
    assert {"test", "testood", "train"} <= set(accuracy["split"])
    assert accuracy["value"].between(0, 1).all()
    page = (root / "report.html").read_text()
    assert "statements of a sample of real facts" in page and "Synthetic world" not in page
    assert planned(folder) == {}
