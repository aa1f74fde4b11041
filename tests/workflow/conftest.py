"""One real run of the small study, shared by the tests that plan on copies of it."""

import copy
from pathlib import Path

import pytest
from study import CONFIG, LOG, configure, copy_repository, snakemake


@pytest.fixture
def config() -> dict:
    return copy.deepcopy(CONFIG)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a repository in which the small study has run to its end. Tests must not change it."""
    folder = copy_repository(tmp_path_factory.mktemp("run") / "repository")
    configure(folder, CONFIG)
    done = snakemake(folder, "--verbose")
    (folder / LOG).write_text(done.stdout + done.stderr)
    return folder
