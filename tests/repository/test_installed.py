"""The package as `pip install` gives it, far from any clone; and the workflow as a module of another."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pandas as pd
import pytest
import yaml

from dry_runs import stats
from repository import ROOT
from workflow.study import CONFIG

PARTS = ("src", "Snakefile", "workflow", "config", "profiles", "envs", "scripts")
LEFT = shutil.ignore_patterns("__pycache__", "*.egg-info")
VARIABLES = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "ENTITY_QUESTIONS_DIR")}


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*map(str, command)], cwd=cwd, env=VARIABLES, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def sftlens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the clone, install it into an environment of its own, return its command."""
    top = tmp_path_factory.mktemp("installed")
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy2
        copy(
            ROOT / part, top / "clone" / part, **({"symlinks": True, "ignore": LEFT} if (ROOT / part).is_dir() else {})
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, top / "clone" / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", top / "wheels", ".", cwd=top / "clone")
    shutil.rmtree(top / "clone")
    venv.create(top / "venv", with_pip=False, symlinks=True)
    python = top / "venv/bin/python"
    run(*pip, "--python", python, "install", "--no-deps", "--no-index", *(top / "wheels").glob("*.whl"), cwd=top)
    # Its dependencies are those of the environment of the tests.
    packages = next((top / "venv/lib").glob("python*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    found = run(python, "-c", "import sftlens; print(sftlens.__file__)", cwd=top).stdout
    assert found.startswith(str(packages)), "the tests' own sftlens was found instead"
    return top / "venv/bin/sftlens"


def test_the_command_lists_the_programs_and_each_says_how_it_is_called(sftlens: Path, tmp_path: Path) -> None:
    listed = run(sftlens, "--help", cwd=tmp_path).stdout
    assert all(title in listed for title in ("measure a model:", "fine-tune:", "repair:", "run a whole study:"))
    for path in (ROOT / "scripts").glob("[a-z]*.py"):
        assert re.search(rf"^  {path.stem.replace('_', '-')} +\w", listed, re.MULTILINE), path.stem
    assert "--entity-questions" in run(sftlens, "facts", "--help", cwd=tmp_path).stdout
    again = run(sftlens.with_name("python"), "-m", "sftlens", "compare-changes", "--help", cwd=tmp_path)
    assert "usage: sftlens compare-changes" in again.stdout


def test_no_file_of_the_package_is_left_out_of_the_wheel(sftlens: Path) -> None:
    installed = next((sftlens.parents[1] / "lib").glob("python*/site-packages")) / "sftlens"
    for folder, _, names in os.walk(ROOT / "src/sftlens", followlinks=True):
        place = Path(folder).relative_to(ROOT / "src/sftlens")
        # workflow/profiles is a link to what lies beside it.
        if "__pycache__" not in place.parts and "shipped/workflow/profiles" not in place.as_posix():
            assert [name for name in names if not (installed / place / name).is_file()] == [], place


def test_a_study_runs_from_any_folder_with_the_files_that_come_along(sftlens: Path, tmp_path: Path) -> None:
    planned = run(sftlens, "study", "-n", "--quiet", "rules", cwd=tmp_path)
    jobs = stats(planned)
    assert jobs["facts"] == 1 and jobs["finetune"] == 30, planned.stdout
    other = ["--profile", "slurm", "--configfile", "config/entityquestions-tiny.yaml"]
    assert stats(run(sftlens, "study", "-n", "--quiet", "rules", *other, cwd=tmp_path))["finetune"] > 1
    assert "what it costs" in run(sftlens, "study", "--help", cwd=tmp_path).stdout
    # For real: the questions of the demo, made by the installed programs.
    run(sftlens, "study", "--until", "facts", "--quiet", "rules", cwd=tmp_path)
    facts = pd.read_parquet(next((tmp_path / "results/facts").glob("facts-*/facts.parquet")))
    assert set(facts["split"]) == {"train", "dev", "test", "testood"}


MODULE = f"""
configfile: "theirs.yaml"

module sftlens:
    snakefile: {str(ROOT / "workflow/Snakefile")!r}
    config: config

use rule * from sftlens as sftlens_*

rule all:
    default_target: True
    input: rules.sftlens_all.input
"""


def test_another_workflow_uses_the_study_as_a_module(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(MODULE)
    (tmp_path / "theirs.yaml").write_text(yaml.safe_dump({**CONFIG, "study": "theirs"}))
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--quiet", "rules"]
    jobs = stats(run(*command, "-n", cwd=tmp_path))
    assert jobs["sftlens_finetune"] == 4 and jobs["sftlens_report"] == 1
    # What the jobs that collect results read is there, though a module's `onstart` is not run.
    assert (tmp_path / "results/theirs/study.json").is_file()


@pytest.mark.parametrize("snakefile", ["Snakefile", "workflow/Snakefile"])
def test_both_snakefiles_are_one_study_with_the_same_profile(snakefile: str) -> None:
    command = [sys.executable, "-m", "snakemake", "-s", snakefile, "-n", "--quiet", "rules", "--cores", "1"]
    done = run(*command, "--forceall", cwd=ROOT)
    assert stats(done)["finetune"] == 30 and "profiles/default" in done.stderr
