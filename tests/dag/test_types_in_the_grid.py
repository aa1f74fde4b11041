"""What a study's models compute in: said to every job that loads one, and part of what studies share."""

from types import SimpleNamespace

from demo_study import demo
from sftlens.dag.jobs import Jobs
from sftlens.dag.paths import Paths

AXES = {"model": "tiny", "train_set": "D0", "scale": "60", "seed": "0", "strategy": "full"}


def test_a_type_of_ones_own_is_given_to_every_job_that_loads_a_model():
    cell = SimpleNamespace(**AXES, criterion="relative", region="transformer", ratio="20")
    own, auto = Jobs(demo(compute_dtype="float32")), Jobs(demo())
    loading = ("mastery", "quality", "finetune", "evaluate", "divergence_base", "divergence", "restore")
    pairs = {stage: [getattr(jobs, f"{stage}_options")(cell) for jobs in (own, auto)] for stage in loading}
    pairs["repair"] = [jobs.repair.options(cell) for jobs in (own, auto)]
    for stage, (given, left) in pairs.items():
        assert given[given.index("--compute-dtype") + 1] == "float32", stage
        assert "--compute-dtype" not in left  # what was computed before there was a choice is not made again


def test_mastery_in_another_type_is_another_table_of_the_same_base():
    own, auto = Paths(demo(compute_dtype="float32")), Paths(demo())
    assert own.base("tiny") == auto.base("tiny") and own.mastery("tiny") != auto.mastery("tiny")
    assert own.divergence_base("tiny") != auto.divergence_base("tiny")
