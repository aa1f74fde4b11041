"""Cells that fail, code that changes: nothing else is lost, nothing is computed twice (these runs are real)."""

from pathlib import Path

import pandas as pd
import pytest
from study import configure, copy_repository, copy_run, planned, snakemake

from entity_questions_files import data_set, file_of

INJECT = Path(__file__).parent / "inject"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return copy_run(finished, tmp_path / "repository")


def test_a_failed_cell_costs_only_itself(finished: Path, tmp_path: Path, config: dict):
    folder = copy_repository(tmp_path / "repository")
    copy_run(finished / "results/models", folder / "results/models")
    copy_run(finished / "results/facts", folder / "results/facts")
    configure(folder, config)
    mark = tmp_path / "mark"
    mark.write_text("D0/n16/seed0")
    environment = {"PYTHONPATH": str(INJECT), "SFTLENS_TEST_FAILURE": str(mark)}
    done = snakemake(folder, environment=environment, check=False)
    text = done.stdout + done.stderr
    root = folder / "results/mini"
    log = "results/mini/logs/tiny/D0/n16/seed0/full/finetune.log"

    assert done.returncode != 0
    assert f"unfinished: tiny/D0/n16/seed0/full finetune: error: injected by a test (log: {log})" in text
    assert (root / "tiny/mixed/n16/seed0/full/restore/relative-transformer/k5/summary.json").is_file()
    assert (root / "tiny/D0/n8/seed0/full/evaluate/summary.json").is_file()
    page = (root / "partial/report.html").read_text()
    assert log in page and "tiny/D0/n16/seed0/full" in page
    partial = pd.read_parquet(root / "partial/results.parquet")
    assert len(partial[partial["stage"] == "restore"]) > 0

    mark.unlink()
    again = planned(folder)
    assert again["finetune"] == again["evaluate"] == 1
    assert not again.keys() & {"mastery", "base", "divergence", "changes", "restore", "training_order"}
    snakemake(folder)
    assert not (root / "partial").exists()
    assert (root / "results.parquet").read_bytes() == (finished / "results/mini/results.parquet").read_bytes()


def test_what_a_stage_does_not_use_makes_it_compute_nothing(run: Path):
    """A new version of mastery whose posteriors differ in the last bit: later stages run, and find their work done."""
    version, program = (run / "src/sftlens" / p for p in ("runtime/result_version.py", "commands/measure/mastery.py"))
    version.write_text(version.read_text().replace('"mastery": 1', '"mastery": 2'))
    old = 'table.assign(**posterior.uncertainty(*(table[name].to_numpy() for name in ("hits", "trials"))))'
    assert old in program.read_text()
    changed = f'{old}.assign(posterior_D0=lambda table: table["posterior_D0"] * (1 + 2**-52))'
    program.write_text(program.read_text().replace(old, changed))
    plan = planned(run)
    assert plan["mastery"] == 1 and plan["finetune"] == 4
    root, table = run / "results/mini", next((run / "results/models/tiny").glob("mastery-*/mastery.parquet"))
    before, probed = {p: p.read_bytes() for p in root.rglob("*.csv")}, table.read_bytes()
    snakemake(run)
    assert table.read_bytes() != probed
    for stage, count in (("finetune", 4), ("evaluate", 6), ("divergence", 1), ("changes-*", 1), ("restore-*", 4)):
        logs = list((root / "logs/tiny").rglob(f"{stage}.log"))
        assert len(logs) >= count
        assert all("the finished result was published" in log.read_text() for log in logs), stage
    probing = next(p for p in (root / "logs/tiny").glob("mastery-*.log") if p.stem.count("-") == 1).read_text()
    assert "published" not in probing
    assert before == {p: p.read_bytes() for p in before}
    assert planned(run) == {}


def test_the_same_bytes_whatever_the_number_of_jobs(finished: Path, tmp_path: Path, config: dict):
    folder = copy_repository(tmp_path / "repository")
    configure(folder, config)
    snakemake(folder, "--cores", "1")
    for path in ["results.parquet", *(f"tables/table{i}.csv" for i in range(1, 5)), "figures/fig2.svg"]:
        assert (folder / "results/mini" / path).read_bytes() == (finished / "results/mini" / path).read_bytes(), path


def test_results_of_another_configuration_are_refused(run: Path, config: dict):
    config["world"]["seed"] = 5
    configure(run, config)
    done = snakemake(run, "--dry-run", check=False)
    text = done.stdout + done.stderr
    assert done.returncode != 0 and "Traceback" not in text
    assert "results/mini was made by another configuration: world.seed was 2 and is 5" in text
    assert "study.yaml" in text


def test_a_damaged_data_file_is_named_with_its_remedy(tmp_path: Path, config: dict):
    folder = copy_repository(tmp_path / "repository")
    data = data_set(tmp_path / "questions")
    damaged = file_of(data, "train", "P17")
    damaged.write_text(damaged.read_text()[:-20])
    config["facts"] = {"source": "entity_questions", "path": str(data)}
    configure(folder, config)
    done = snakemake(folder, "--until", "facts", check=False)
    text = done.stdout + done.stderr
    assert done.returncode != 0 and "Traceback" not in text
    assert "unfinished: facts facts: error:" in text and "P17.train.json" in text
    assert not list((folder / "results").rglob("facts.parquet"))
