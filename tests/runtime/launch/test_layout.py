"""How many processes train where: what cannot be had is refused before anything starts."""

from pathlib import Path

import pytest

from sftlens.errors import LaunchError
from sftlens.runtime import launch


def test_several_nodes_need_a_slurm_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(LaunchError, match=r"2 nodes must run inside a Slurm job .*launch\.nodes: 1"):
        launch.start(Path("any.py"), [], launch.Layout(processes=4, nodes=2), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_processes_are_shared_evenly_by_the_nodes():
    assert launch.Layout(processes=6, nodes=3).per_node == 2
    assert launch.Layout(processes=4, nodes=2, cpus=6).threads == 3
    assert launch.Layout(processes=2, cpus=1).threads == 1 == launch.Layout(processes=2, cpus=8, gpus=2).threads
    with pytest.raises(LaunchError, match="5 processes cannot be shared evenly by 2 nodes"):
        launch.Layout(processes=5, nodes=2)
