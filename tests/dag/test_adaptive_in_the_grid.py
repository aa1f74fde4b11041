"""A study that probes adaptively: what its job is told, where its table lies, and what it is expected to take."""

from types import SimpleNamespace

import pytest

from demo_study import DEMO, demo
from sftlens.dag.jobs import Jobs
from sftlens.dag.paths import Paths
from sftlens.errors import ConfigError
from sftlens.resources.costs import Costs
from sftlens.resources.job import Job

ADAPTIVE = {**DEMO["probing"], "method": "adaptive"}


def told(**probing: object) -> list[str]:
    study = demo(probing={**DEMO["probing"], **probing})
    return Jobs(study).mastery_options(SimpleNamespace(model="tiny"))


def test_the_job_is_told_and_the_table_lies_elsewhere() -> None:
    given = told(method="adaptive", calibration_facts=50, margin=0.5)
    assert given[given.index("--method") + 1] == "adaptive"
    assert given[given.index("--calibration-facts") + 1] == "50"
    assert given[given.index("--margin") + 1] == "0.5"
    probes = (DEMO["probing"], ADAPTIVE, {**ADAPTIVE, "calibration_facts": 50}, {**ADAPTIVE, "margin": 0.5})
    assert len({Paths(demo(probing=probing)).mastery_folder("tiny") for probing in probes}) == len(probes)


def test_a_fixed_probe_is_told_and_keyed_as_before() -> None:
    assert not {"--method", "--calibration-facts", "--margin"} & set(told())
    fixed = {**DEMO["probing"], "method": "fixed", "calibration_facts": 50, "margin": 0.5}
    assert Paths(demo(probing=fixed)).mastery_folder("tiny") == Paths(demo()).mastery_folder("tiny")


def test_the_plan_knows_that_it_takes_less() -> None:
    def seconds(probing: dict) -> float:
        return Costs(demo(probing=probing)).seconds(Job("mastery", "tiny"))

    assert 0.1 < seconds(ADAPTIVE) / seconds(DEMO["probing"]) < 0.9
    every = {**ADAPTIVE, "calibration_facts": 10**6}
    assert seconds(every) == pytest.approx(seconds(DEMO["probing"]))


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ConfigError, match="method"):
        demo(probing={**DEMO["probing"], "method": "clever"})
