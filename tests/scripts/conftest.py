"""The inputs of the scripts that read a model, made once."""

from pathlib import Path

import pytest

from model_inputs import write_inputs


@pytest.fixture(scope="package")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("inputs"))
