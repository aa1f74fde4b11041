"""Work whose owner's Slurm job is over is taken over soon; while the job runs it is left alone."""

import json
import time
from pathlib import Path

import pytest
from slurm_cluster import Cluster, until

from owner_files import owned
from sftlens.runtime import lock


def claimed_after(seconds: float, path: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Return whether one who waits takes the work over once the owner was silent for so long."""
    watched = lock.Owner(path)
    assert lock.claim(path, watched) is None
    now = time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: now + seconds)
        return watched.stale()


def test_owner_is_left_alone_while_its_job_runs(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    job = cluster.ask("sbatch", "--parsable", "--output=/dev/null", "--wrap=sleep 600").strip()
    until(lambda: job in cluster.jobs(), "job runs")
    path = owned(tmp_path / "owner", json.dumps({"host": "elsewhere", "pid": 1, "job": job}))
    silent = lock.ENDED_SECONDS + 1
    assert not claimed_after(silent, path, monkeypatch)
    cluster.ask("scancel", job)
    until(lambda: not cluster.ask("squeue", "-h"), "job gone")
    assert not claimed_after(1, path, monkeypatch), "it may live on where its node was lost"
    assert claimed_after(silent, path, monkeypatch)


def test_owner_of_a_job_that_slurm_has_forgotten_is_dead(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = owned(tmp_path / "owner", json.dumps({"host": "elsewhere", "pid": 1, "job": "999999"}))
    assert claimed_after(lock.ENDED_SECONDS + 1, path, monkeypatch)
