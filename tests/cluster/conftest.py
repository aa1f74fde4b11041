"""One cluster and one finished study on it, shared by the tests."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster_study import CELL, TABLE, config
from slurm_cluster import Cluster, Driver, missing, until

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))

from study import CONFIG, configure, copy_repository, copy_run


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if why := missing():
        pytest.skip(f"the study was NOT run on a Slurm cluster: {why}")
    made = Cluster(tmp_path_factory.mktemp("slurm") / "cluster")
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="session")
def finished(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Driver:
    """A folder in which the whole study has run on the cluster. Tests must not change it."""
    driver = Driver(copy_repository(tmp_path_factory.mktemp("study") / "repository"))
    configure(driver.folder, config(CONFIG))
    status, said = driver.run()
    assert status == 0, said
    return driver


@pytest.fixture
def untrained(cluster: Cluster, finished: Driver, tmp_path: Path) -> Callable[..., Driver]:
    """Return a maker of a copy of that folder without the trained models of the given names, and without the table."""

    def make(*models: str) -> Driver:
        folder = copy_run(finished.folder, tmp_path / "repository")
        for model in models:
            shutil.rmtree(folder / CELL.format(model))
        shutil.rmtree(folder / "results/mini/.state")
        (folder / TABLE).unlink()
        until(cluster.idle, "all nodes idle")
        return Driver(folder)

    return make
