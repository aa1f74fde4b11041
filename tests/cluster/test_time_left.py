"""A training knows when its Slurm job ends."""

import pytest
from slurm_cluster import Cluster, until

from sftlens.runtime import launch


@pytest.mark.parametrize(("limit", "most"), [("2", 120), ("1-02:00:00", 93600)], ids=["minutes", "days"])
def test_the_time_that_a_job_has_left(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, limit: str, most: int):
    job = cluster.ask("sbatch", "--parsable", "--output=/dev/null", f"--time={limit}", "--wrap=sleep 600").strip()
    until(lambda: job in cluster.jobs(), "job runs")
    monkeypatch.setenv("SLURM_JOB_ID", job)
    left = launch.seconds_left()
    cluster.ask("scancel", job)
    assert left is not None and most - 100 < left <= most


def test_outside_of_a_job_there_is_no_limit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert launch.seconds_left() is None
