"""Work whose owner's Slurm job is over is taken over soon; while the job runs it is left alone."""

import json
from pathlib import Path

from slurm_cluster import Cluster, until

from owner_files import owned
from sftlens.runtime import lock

SILENT = lock.ENDED_SECONDS + 1


def test_owner_is_left_alone_while_its_job_runs(cluster: Cluster, tmp_path: Path):
    job = cluster.ask("sbatch", "--parsable", "--output=/dev/null", "--wrap=sleep 600").strip()
    until(lambda: job in cluster.jobs(), "job runs")
    owner = json.dumps({"host": "elsewhere", "pid": 1, "job": job})
    assert lock.claim(owned(tmp_path / "owner", owner, SILENT)) is None
    cluster.ask("scancel", job)
    until(lambda: not cluster.ask("squeue", "-h"), "job gone")
    assert lock.claim(owned(tmp_path / "owner", owner, age=0)) is None, "it may live on where its node was lost"
    assert lock.claim(owned(tmp_path / "owner", owner, SILENT)) is not None


def test_owner_of_a_job_that_slurm_has_forgotten_is_dead(cluster: Cluster, tmp_path: Path):
    owner = json.dumps({"host": "elsewhere", "pid": 1, "job": "999999"})
    assert lock.claim(owned(tmp_path / "owner", owner, SILENT)) is not None
