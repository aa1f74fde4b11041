"""What a run says at its end of the jobs that failed, with or without Snakemake's own words."""

from pathlib import Path

import pytest
import yaml
from study import configure, copy_repository, snakemake

from sftlens.config import loading
from sftlens.dag import targets
from sftlens.results import unfinished


@pytest.mark.parametrize("quiet", [(), ("--quiet", "all")], ids=["with its words", "quiet"])
def test_a_failed_job_is_named_with_its_error_and_none_that_nobody_asked_for(
    tmp_path: Path, config: dict, quiet: tuple[str, ...]
):
    folder = copy_repository(tmp_path / "repository")
    config["models"]["tiny"]["geometry"]["vocab_size"] = 10
    configure(folder, config)
    done = snakemake(folder, "--config", "only=divergence", *quiet, check=False)
    said = done.stderr.splitlines()
    assert done.returncode == 1
    (reason,) = [line for line in said if line.startswith("unfinished: ")]
    assert reason.startswith("unfinished: tiny base: error: geometry.vocab_size: 10 is too small")
    assert "(log: results/mini/logs/tiny/base-" in reason
    asked = targets.select(loading.load_file(folder / "study.yaml"), "divergence")
    waiting = len(asked.products)
    assert f"1 job did not finish, {waiting} more wait for them" in said
    assert (folder / "results/mini/partial/report.html").is_file()
    assert not list((folder / "results/mini/partial").rglob("table4*"))


def test_a_page_that_fails_is_named(tmp_path: Path, config: dict, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "results/mini/logs/figures/fig5.log"
    log.parent.mkdir(parents=True)
    log.write_text("Traceback ...\nValueError: no such font\n")
    unfinished.tell(targets.select(loading.load(yaml.safe_load(yaml.safe_dump(config)))))
    assert "unfinished: mini figures/fig5: ValueError: no such font (log: results/mini/logs/figures/fig5.log)" in (
        capsys.readouterr().err
    )
