"""The two places where the project leans on an internal of another package; each fails when that moves."""

import inspect
from importlib.metadata import version

from deepspeed.accelerator import get_accelerator
from deepspeed.comm.torch import build_shm_op
from snakemake.scheduling.job_scheduler import JobScheduler

from sftlens.training import deepspeed_engine


def test_snakemake_is_the_version_whose_limiter_the_workflow_takes_away() -> None:
    """workflow/rules/common.smk: no setting is without it, and with a long timespan Snakemake does not end."""
    assert version("snakemake") == "9.27.1"
    source = inspect.getsource(JobScheduler)
    assert "self._schedule_reevalutation(self.job_rate_limiter.timespan)" in source
    assert "if self.job_rate_limiter is None:" in source


def test_deepspeed_looks_into_its_register_before_it_compiles_a_collective() -> None:
    deepspeed_engine._deepspeed(cuda=False)
    assert get_accelerator().create_op_builder("ShareMemCommBuilder").NAME == "deepspeed_shm_comm"
    assert "deepspeed.ops.__compatible_ops__.get(builder.NAME" in inspect.getsource(build_shm_op)
    assert build_shm_op() is None
