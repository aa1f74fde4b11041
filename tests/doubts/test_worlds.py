"""`sftlens worlds`: a study a world, what is killed goes on, what fails is named, and the page says what came out."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from demo_study import changed
from dry_runs import planned, stats
from repository import ROOT
from script_calls import refused
from sftlens.config import loading
from sftlens.dag.targets import select, wanted
from sftlens.doubts import DOUBTS
from sftlens.errors import ConfigError
from sftlens.files import write_json
from sftlens.planning import job_list
from tiny import tiny_model

SHIPPED = yaml.safe_load((ROOT / "config/doubts.yaml").read_text(encoding="utf-8"))
MINI = {
    "study": "mini",
    "world": {
        "seed": 5, "train": 12, "dev": 1, "test": 4, "testood": 3, "extra": 4, "calibration": 2, "max_exposure": 30,
        "calibration_statements": 10, "extra_questions": 4,
    },
    "models": {"tiny": {
        "source": "pretrain",
        "geometry": {
            "layers": 1, "hidden_size": 32, "intermediate_size": 64, "heads": 2, "kv_heads": 2, "vocab_size": 700,
        },
    }},
    "probing": {"samples": 2, "max_new_tokens": 6, "max_templates": 3},
    "finetuning": {"learning_rate": 1e-3, "dtype": "float32", "zero_stage": 0},
    "evaluation": {"reprobe": 0, "during": [1], "during_facts": 1, "during_trained": 4},
    "recipes": {"repeated": {"by_pass": True, "parts": {"few": {"facts": 8, "repeat": 2}}}},
    "experiments": {"steps": {"train_sets": ["repeated", "mixed"], "scales": [16], "seeds": [0]}},
}  # fmt: skip

COMMAND = [sys.executable, "-m", "sftlens", "worlds", "--experiment", "steps", "--worlds", "2"]
COMMAND += ["--configfile", "mini.yaml", "--cores", "2"]


def test_a_killed_world_goes_on_and_one_that_fails_takes_no_other_down(tmp_path: Path) -> None:
    (tmp_path / "mini.yaml").write_text(yaml.safe_dump(MINI))
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    # The second world cannot be made: another study of its name is there.
    write_json(tmp_path / "results/mini-world2/study.json", {"world": {"seed": 1}})
    write_json(tmp_path / "results/mini-world2/tiny/D0/n8/seed0/full/finetune.json", {})

    with (tmp_path / "log").open("w") as log:
        running = subprocess.Popen(
            COMMAND, cwd=tmp_path, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        while not list(tmp_path.glob("results/models/tiny/mastery-*/mastery.parquet")):
            assert running.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.5)
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    base = next(tmp_path.glob("results/models/tiny/base-*/base.json"))
    made = base.stat().st_mtime_ns

    done = subprocess.run(COMMAND, cwd=tmp_path, env=environment, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "Traceback" not in said, said
    assert base.stat().st_mtime_ns == made and len(list(tmp_path.glob("results/models/tiny/base-*"))) == 1
    assert (
        "world.seed was 1 and is 6" in said and "worlds: world 2 failed (exit 1); its logs: results/mini-world2" in said
    )
    assert done.stderr.splitlines()[-1].startswith("error: 1 of 2 worlds failed (2); the table holds the other 1.")
    table = pd.read_csv(tmp_path / "results/mini-worlds/steps/steps.csv")
    assert set(table["Scope"]) <= {"one world", "no world"}

    first = tmp_path / "results/mini-world1/tables/steps.csv"
    written = first.stat().st_mtime_ns
    shutil.rmtree(tmp_path / "results/mini-world2")
    done = subprocess.run(COMMAND, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert first.stat().st_mtime_ns == written and len(list(tmp_path.glob("results/models/tiny/base-*"))) == 2
    folder = tmp_path / "results/mini-worlds/steps"
    table = pd.read_csv(folder / "steps.csv", na_values="-")
    learned = table[table["Quantity"].str.startswith("Training facts answered")]
    assert set(learned["Scope"]) == {"over 2 worlds"} and set(learned["X"].astype(str)) == {"0", "1", "2"}
    every = pd.read_csv(folder / "worlds.csv", na_values="-")
    mean = every[every["Quantity"] == learned["Quantity"].iloc[0]].groupby(["Series", "X"])["Estimate"].mean()
    assert learned.set_index(["Series", "X"])["Estimate"].round(2).to_dict() == mean.round(2).to_dict()
    assert {path.suffix for path in folder.iterdir()} == {".csv", ".md", ".tex", ".txt", ".svg", ".png", ".pdf"}
    assert "95 % t intervals over worlds" in (folder / "steps.md").read_text(encoding="utf-8")
    assert done.stdout.splitlines()[-1] in (folder / "steps.txt").read_text(encoding="utf-8")


def test_each_world_is_drawn_anew_and_the_first_is_that_of_the_configuration() -> None:
    from sftlens.commands.worlds import worlds

    study = loading.load(SHIPPED)
    first, third = (loading.load(worlds.world(SHIPPED, study, number)) for number in (1, 3))
    assert (first.world, first.models["tiny"]) == (study.world, study.models["tiny"]) and first.study == "doubts-world1"
    assert (third.study, third.world.seed, third.models["tiny"].pretraining.seed) == ("doubts-world3", 103, 2)
    assert third.experiments == study.experiments and SHIPPED["study"] == "doubts"


def test_every_experiment_is_in_a_configuration_that_is_found_by_its_name() -> None:
    from sftlens.commands.worlds import worlds

    for name in DOUBTS.names():
        worlds.refuse(loading.load_file(worlds.default(name)), name, worlds.default(name))


def test_a_configuration_whose_experiments_are_empty_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sftlens.commands.worlds import worlds

    monkeypatch.chdir(tmp_path)
    Path("config").mkdir()
    Path("config/doubts.yaml").write_text("study: mine\nexperiments:\n")
    assert worlds.default("skill").name == "doubts-parents.yaml"
    assert worlds.default("steps") == Path("config/doubts.yaml")  # which is then said to lack it


def test_the_worlds_of_a_clone_run_with_its_own_sftlens(tmp_path: Path) -> None:
    (tmp_path / "mini.yaml").write_text(yaml.safe_dump(MINI))
    other = tmp_path / "elsewhere/sftlens"
    other.mkdir(parents=True)
    for name in ("__init__.py", "__main__.py"):
        (other / name).write_text("raise SystemExit('another sftlens')\n")
    command = [sys.executable, ROOT / "scripts/worlds.py", *COMMAND[4:], "--dry-run"]
    environment = {**os.environ, "PYTHONPATH": str(other.parent)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "another sftlens" not in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, ["--experiment", "stepz"], "there is no experiment 'stepz'; did you mean 'steps'?"),
        ({}, ["--experiment", "dose"], "mini.yaml: has no experiment 'dose'; add experiments.dose"),
        ({}, ["--experiment", "steps", "--worlds", 0], "option --worlds: give a number of worlds from 1 on"),
        (
            {"models": {"mine": {**MINI["models"]["tiny"], "source": "path", "path": "models/mine"}}},
            ["--experiment", "steps"],
            "model 'mine' exists already, so there is one of it and no worlds; run the experiment on it with",
        ),
        (
            {"facts": {"source": "entity_questions"}},
            ["--experiment", "steps"],
            "facts.source is 'entity_questions', and only invented worlds can be drawn anew",
        ),
    ],
)
def test_what_cannot_be_run_over_worlds_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict, options: list, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mini.yaml").write_text(yaml.safe_dump({**MINI, **changes}))
    assert message in refused("worlds.py", *options, "--configfile", "mini.yaml")
    assert not Path("results").exists()


def test_every_experiment_is_planned_on_an_existing_model_by_configuration_alone(tmp_path: Path) -> None:
    tiny_model(tmp_path / "mine")
    able = {name: axes for name, axes in SHIPPED["experiments"].items() if not DOUBTS.get(name).pretrained_only}
    mine = changed(SHIPPED, models={"mine": {"source": "path", "path": str(tmp_path / "mine")}}, experiments=able)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine))
    jobs = stats(planned(tmp_path, tmp_path / "mine.yaml"))
    study = loading.load(mine)
    assert jobs.pop("total") == sum(jobs.values()) and jobs == job_list.jobs(select(study))
    assert "choose_templates" not in jobs and jobs["base"] == jobs["mastery"] == 1
    assert set(able) <= set(wanted(study)) and jobs["finetune"] > 50
    for doubt in (doubt for doubt in DOUBTS if doubt.pretrained_only):
        with pytest.raises(ConfigError, match=f"experiments.{doubt.name}: not on 'mine'"):
            loading.load({**mine, "experiments": {doubt.name: {}}})


def test_the_page_is_made_from_the_tables_over_worlds() -> None:
    run = subprocess.run([sys.executable, ROOT / "docs/doubts.py", "--check"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
