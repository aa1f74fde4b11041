"""A name that no registry has is an error that names the nearest one, and is never taken for something else."""

import pytest

from demo_study import DEMO, changed
from script_calls import refused
from sftlens.config.loading import load
from sftlens.dag.cells import Cell
from sftlens.errors import ConfigError
from sftlens.restoration import methods
from sftlens.restoration.criteria import CRITERIA


def test_an_unknown_strategy_is_an_error_and_never_the_base() -> None:
    with pytest.raises(ConfigError, match="no strategy 'fulll'; did you mean 'full'"):
        Cell("m", "D0", "60", 0, "fulll")
    with pytest.raises(ConfigError, match="n = 0"):
        Cell("m", "base", "0", 0, "full")
    message = refusal(experiments__scaling__strategies=["ful"])
    assert "strategies.0" in message and message.endswith("did you mean 'full'?")
    assert "did you mean 'full'" in refused(
        "finetune.py", "--model", "m", "--train", "t", "--out", "o", "--strategy", "ful"
    )
    assert Cell("m", "D0", "60", 0).trained and not Cell("m", "base", "0", 0, "fewshot").trained


def refusal(**changes: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load(changed(DEMO, **changes), "my.yaml")
    return str(caught.value)


def test_an_unknown_name_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no ranking criterion 'relativ'; did you mean 'relative'"):
        CRITERIA.get("relativ")
    with pytest.raises(ConfigError, match=r"no criterion 'interpolate'; did you mean 'interpolation'.*choose one of"):
        methods.chosen("interpolate")
    with pytest.raises(ConfigError):
        methods.chosen("restore")  # the method of all criteria is none of them
