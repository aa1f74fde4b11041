"""A figure is one file: it is planned, listed, drawn and shown, and nothing else knows of it."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from test_intervals import CONFIG, answered, mastery

from repository import ROOT
from sftlens.config import loading
from sftlens.dag import cells, paths, recorded
from sftlens.files import write_json, write_parquet

THEME = '''
"""A theme that a test adds."""
from sftlens.reporting import curves, frames
from sftlens.dag.targets import TARGETS, Target


def numbers(results):
    return curves.against_n(results, "evaluate", "well_formed", "macro", frames.TESTS, frames.ACCURACY)


def draw(numbers, notice):
    return curves.draw(numbers, notice, frames.ACCURACY, "Well-formed answers (%)")


TARGETS.add(Target("added", 21, "scaling", "Well-formed answers", "What a test says of it.", numbers, draw))
'''
STUDY = {**CONFIG, "models": {"one": CONFIG["models"]["one"]}, "experiments": {
    "scaling": {"train_sets": ["D0", "D1"], "scales": [8, 16], "seeds": [0, 1, 2], "shots": 0}
}}  # fmt: skip


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with one more theme, and a finished study of invented numbers in it."""
    copy = tmp_path_factory.mktemp("repository")
    for name in ("src", "scripts", "workflow", "config", "profiles", "envs"):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "Snakefile", copy)
    (copy / "src/sftlens/reporting/themes/added.py").write_text(THEME)
    (copy / "study.yaml").write_text(yaml.safe_dump(STUDY))
    return copy


def run(repository: Path, *command: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *command], cwd=repository, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_it_is_a_target_of_the_workflow_and_of_the_command_line(repository: Path) -> None:
    snakemake = ["-m", "snakemake", "-n", "--quiet", "rules", "--configfile", "study.yaml", "--nocolor"]
    planned = run(repository, *snakemake, "added").split("Job stats:")[-1]
    assert "added" in planned and "figure" in planned and "table" not in planned
    listed = " ".join(run(repository, "scripts/collect.py", "--help").split())
    assert listed.index("fig2,") < listed.index("added,") < listed.index("fig4,")


def test_it_is_drawn_and_has_its_place_on_the_page(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    study = loading.load(STUDY)
    recorded.record(study)
    place = {"split": "test", "bucket": "macro", "metric": "well_formed", "n": 60, "low": None, "high": None}
    for number, product in enumerate(cells.distinct(study)):
        summary = Path(paths.Paths(study).summary(product))
        rows = [{**place, "value": number / 100}] if product.stage == "evaluate" else []
        write_json(summary, {"metrics": rows})
        if product.stage == "mastery":
            write_parquet(summary.with_name("mastery.parquet"), mastery(product.cell.model))
        elif product.stage == "evaluate":
            write_parquet(summary.with_name("answers.parquet"), answered(product))
    run(repository, "scripts/collect.py", "fake", "--figure", "added")
    folder = repository / "results/fake/figures"
    assert sorted(path.suffix for path in folder.glob("added.*")) == [".csv", ".pdf", ".png", ".svg", ".txt"]
    assert "What a test says of it." in (folder / "added.txt").read_text()
    report = ["-m", "snakemake", "--report", "report.zip", "--configfile", "study.yaml", "--nocolor"]
    run(repository, *report, "added")
    with zipfile.ZipFile(repository / "report.zip") as archive:
        text = "".join(archive.read(name).decode(errors="replace") for name in archive.namelist())
    assert "Figures" in text and "What a test says of it." in text
    labels = '"model": "one", "figure": "added", "of": "sftlens", "from": "scaling", "shows": "Well-formed answers"'
    assert labels in text
    run(repository, "scripts/collect.py", "fake", "--partial")
    page = (repository / "results/fake/partial/report.html").read_text()
    assert page.index('id="added"') < page.index('id="fig2"') < page.index('id="fig4"')  # the paper's come later
    section = page[page.index('id="added"') : page.index('id="fig2"')]
    assert "<h3>Well-formed answers <a" in section and "data:image/svg+xml" in section
