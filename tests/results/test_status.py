"""How far a study is, from its files: each state, the grid, the terminal and the page."""

import os
import re
import time
from pathlib import Path

import pytest

from repository import ROOT
from script_calls import ok
from sftlens.config import loading
from sftlens.dag import cells, recorded
from sftlens.dag.cells import Product
from sftlens.dag.paths import Paths
from sftlens.dag.targets import select
from sftlens.files import write_json
from sftlens.results import status

GEOMETRY = {"layers": 2, "hidden_size": 8, "intermediate_size": 8, "heads": 2, "kv_heads": 2, "vocab_size": 9}
STUDY = loading.load({
    "study": "fake",
    "templates": str(ROOT / "config/relations.yaml"),
    "models": {"one": {"source": "path", "path": "models/one", "geometry": GEOMETRY}},
    "experiments": {"scaling": {"train_sets": ["D0"], "scales": [8, 16], "seeds": [0, 1, 2], "shots": 0}},
})  # fmt: skip
PATHS = Paths(STUDY)


def log(product: Product, text: str, seconds_ago: float = 0) -> None:
    path = Path(PATHS.log(product))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (time.time() - seconds_ago,) * 2)


@pytest.fixture(autouse=True)
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mastery and n = 8 are done; of n = 16 one training runs, one failed, one was killed."""
    monkeypatch.chdir(tmp_path)
    recorded.record(STUDY)
    for product in cells.distinct(STUDY):
        if product.stage == "mastery" or product.cell.scale in ("8", "0"):
            write_json(Path(PATHS.summary(product)), {"metrics": []})
            log(product, f"{product.stage}: wrote it\n", 9999)
    running, failed, killed = (Product("finetune", cells.Cell("one", "D0", "16", seed)) for seed in range(3))
    log(running, "loading\nfine-tune: 1/2 step, 1.00step/s, 01:00 left, loss=1.5, lr=1e-05\n")
    log(failed, "error: training set D0 has 12 facts, fewer than the scale 16\n", 9999)
    log(killed, "fine-tune: 1/2 step, 1.00step/s, 01:00 left, loss=1.5, lr=1e-05\n", 9999)


def test_each_job_is_in_its_state() -> None:
    found = {(job.cell, job.seed, job.stage): job for job in status.jobs(select(STUDY))}
    assert found["one/D0/n8", 0, "evaluate"].state == status.DONE
    running = found["one/D0/n16", 0, "finetune"]
    assert (running.state, running.said.partition(",")[0]) == (status.RUNNING, "fine-tune: 1/2 step")
    assert found["one/D0/n16", 1, "finetune"].state == status.FAILED
    assert found["one/D0/n16", 2, "finetune"].state == status.SILENT
    assert found["one/D0/n16", 0, "evaluate"].state == status.WAITING


def test_the_terminal_shows_the_grid_and_what_went_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    ok("status.py", "fake")
    shown = capsys.readouterr().out
    assert "3/3" in shown and "0/3 1 running 1 failed 1 silent" in shown
    assert "running: one/D0/n16 seed 0 finetune: fine-tune: 1/2 step" in shown
    assert "failed: one/D0/n16 seed 1 finetune: error: training set D0 has 12 facts" in shown
    assert "1 running, 1 failed, 1 silent" in shown.splitlines()[-1]


def test_the_page_is_one_file(tmp_path: Path) -> None:
    ok("status.py", "fake", "--html", tmp_path / "status.html")
    page = (tmp_path / "status.html").read_text()
    assert "error: training set D0 has 12 facts" in page and "one/D0/n16" in page
    written = re.sub("<script.*?</script>", "", page, flags=re.DOTALL)  # libraries name their authors' addresses
    assert "default-src 'none'" in page and "http:" not in written and "https:" not in written


def test_an_older_models_log_says_nothing_of_a_job_that_waits() -> None:
    training = Product("finetune", cells.Cell("one", "D0", "8", 0))
    Path(PATHS.summary(training)).unlink()
    log(Product("evaluate", cells.Cell("one", "D0", "8", 0)), "error: of an earlier model\n", 9999)
    found = {(job.cell, job.seed, job.stage): job for job in status.jobs(select(STUDY))}
    assert found["one/D0/n8", 0, "evaluate"].state == status.WAITING


def test_a_summary_that_is_cut_short_is_no_done_job() -> None:
    product = next(product for product in cells.distinct(STUDY) if product.stage == "evaluate")
    summary = Path(PATHS.summary(product))
    summary.write_bytes(summary.read_bytes()[:-3])
    failed = [job for job in status.jobs(select(STUDY)) if job.stage == "evaluate" and job.state == status.FAILED]
    assert [job.said for job in failed] == [f"{summary} is cut short; remove it and run the study again"]
