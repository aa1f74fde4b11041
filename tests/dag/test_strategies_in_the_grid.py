"""Strategies, their pilots and learning rates as cells of a study; names with hyphens everywhere."""

import re
from types import SimpleNamespace

import pytest
import yaml

from demo_study import DEMO, changed, demo
from dry_runs import planned, stats
from sftlens.dag.cells import Cell, distinct, quota_needs
from sftlens.dag.jobs import Jobs
from sftlens.dag.targets import select
from sftlens.planning import job_list
from sftlens.resources.costs import Costs
from sftlens.resources.job import Job
from sftlens.resources.requests import Resources

AXES = {"train_sets": ["D2"], "scales": [60], "seeds": [0], "strategies": ["masked", "self-distil", "replay"]}
CELL = {"model": "tiny", "train_set": "D2", "scale": "60", "seed": "0"}


@pytest.fixture(scope="module")
def study():
    return demo(experiments={"scaling": AXES}, strategies={"self-distil": {"known_scale": 40}})


def trained(study) -> list[Cell]:
    return [product.cell for product in distinct(study) if product.stage == "finetune"]


def options(study, strategy: str) -> dict[str, str]:
    words = Jobs(study).finetune_options(SimpleNamespace(**CELL, strategy=strategy))
    return {word: words[i + 1] for i, word in enumerate(words[:-1]) if word.startswith("--")}


def test_a_pilot_is_trained_once_and_handed_to_the_strategy(study):
    found = [cell.path for cell in trained(study)]
    pilots = ["tiny/D2/n60/seed0/full", "tiny/D4/n40/seed0/full"]
    assert found == [f"tiny/D2/n60/seed0/{name}" for name in AXES["strategies"]] + pilots
    assert options(study, "masked")["--pilot"] == "results/demo/tiny/D2/n60/seed0/full/checkpoint"
    distil = options(study, "self-distil")
    assert distil["--pilot"] == "results/demo/tiny/D4/n40/seed0/full/checkpoint"
    assert distil["--strategy-settings"] == '{"weight": 1.0, "known": "D4", "known_scale": 40}'
    assert options(study, "replay")["--known"].endswith("/mastery.parquet")
    texts = demo(experiments={"scaling": {**AXES, "strategies": ["replay-generated"]}}, probing__keep_texts=True)
    generated = options(texts, "replay-generated")
    assert generated["--texts"].endswith("/mastery-texts.parquet") and generated["--templates"].endswith(".yaml")
    assert not {"--pilot", "--known"} & set(options(study, "full"))
    assert job_list.jobs(select(study))["finetune"] == len(found)


def test_only_early_stopping_is_given_dev_facts():
    axes = {**AXES, "strategies": ["full", "early-stopping"]}
    study = demo(experiments={"scaling": axes}, strategies={"early-stopping": {"every": 5}})
    stopped = options(study, "early-stopping")
    assert stopped["--dev"] == Jobs(study).paths.facts and "--early-stopping" not in stopped
    assert stopped["--strategy-settings"] == '{"every": 5, "patience": 3, "facts": 200}'
    assert not {"--dev", "--early-stopping"} & set(options(study, "full"))
    costs, jobs = Costs(study), [Job("finetune", "tiny", "D2", "60", strategy=name) for name in axes["strategies"]]
    full, looked = (costs.training_seconds(study.models["tiny"], job) for job in jobs)
    assert looked > full
    asked = Resources(study).of("finetune")["mem_mb"]
    full, kept = (asked(SimpleNamespace(**CELL, strategy=name), 1) for name in axes["strategies"])
    assert kept > full


def test_learning_rates_are_rungs_of_every_strategy():
    axes = {**AXES, "strategies": ["full", "masked"], "learning_rates": [1e-3, 3e-5]}  # the first is the study's own
    study = demo(experiments={"scaling": axes})
    assert [cell.strategy for cell in trained(study)] == ["full", "full@3e-05", "masked", "masked@3e-05"]
    assert options(study, "full@3e-05")["--learning-rate"] == "3e-05"
    assert options(study, "full")["--learning-rate"] == "0.001"
    assert options(study, "masked@3e-05")["--pilot"].endswith("/full@3e-05/checkpoint")
    assert options(study, "masked@3e-05")["--strategy"] == "masked"
    assert re.fullmatch(Jobs(study).constraints()["strategy"], "masked@3e-05")


def test_a_quota_of_probing_counts_the_pilots():
    study = demo(experiments={"scaling": AXES}, probing__quota=2)
    assert quota_needs(study, "tiny") == {"D2": 60, "D4": 60}


def test_snakemake_plans_names_with_hyphens_and_learning_rates(tmp_path):
    axes = {**AXES, "learning_rates": [2e-3]}
    restoration = {**AXES, "strategies": ["l2-sp"], "ratios": [20]}
    configured = changed(DEMO, experiments={"scaling": axes, "restoration": restoration})
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(configured))
    jobs = stats(planned(tmp_path, tmp_path / "study.yaml"))
    # Three strategies and two pilots at two rates, and l2-sp.
    assert jobs["finetune"] == 11 and jobs["restore"] == 1 and jobs["training_order"] == 2
