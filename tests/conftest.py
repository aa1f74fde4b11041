"""One numeric thread in every test process: more are slower on a loaded machine, and round differently."""

import os
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

TOGETHER = ("tests/cluster/", "tests/workflow/")
"""Folders whose tests share one finished study: where several processes run the tests, one of them runs these."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each process whole files of tests, and whole folders of those that share a study."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduler(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next((folder for folder in TOGETHER if nodeid.startswith(folder)), Path(nodeid.split("::")[0]).name)

    return Scheduler(config, log)
