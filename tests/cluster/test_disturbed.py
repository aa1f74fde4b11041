"""The short form of chaos on a cluster: a study disturbed at random ends with the bytes of the undisturbed one."""

import runpy
from argparse import Namespace
from pathlib import Path

from slurm_cluster import Cluster, Driver, until

SLURM = Path(__file__).parents[1] / "chaos/slurm.py"


def test_a_disturbed_cluster(cluster: Cluster, finished: Driver, tmp_path: Path) -> None:
    until(cluster.idle, "all nodes idle")
    one = runpy.run_path(str(SLURM))["play"](
        1, 7, cluster, finished.folder, Namespace(keep=tmp_path, faults=3, seconds=8.0)
    )
    assert not one.fault, f"{one.fault} (after {', '.join(one.done)}; {one.calls} calls)"
