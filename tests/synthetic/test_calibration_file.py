"""The facts that templates are judged on, where the file does not hold such facts."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from probe_tables import SENTENCES
from script_calls import refused
from tiny import tiny_model

FACT = {"relation": "P17", "subject": "Mount Kesta", "object": "e"}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    tiny_model(folder / "model")
    (folder / "templates.yaml").write_text(yaml.safe_dump({r: {"templates": t} for r, t in SENTENCES.items()}))
    return folder


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "holds None: Input should be a valid list"),
        ([], "holds []: List should have at least 1 item"),
        ([FACT, None], "key '1' is None"),
        ([{"relation": "P17", "subject": "Mount Kesta"}], "key '0.object' is missing"),
        ([{**FACT, "object": 7}], "key '0.object' is 7: Input should be a valid string"),
        ([{**FACT, "subject": " "}], "key '0.subject' is ' '"),
    ],
)
def test_what_are_no_calibration_facts_is_named(inputs: Path, tmp_path: Path, value: Any, words: str) -> None:
    (tmp_path / "calibration.json").write_text(json.dumps(value))
    given = ["--model", inputs / "model", "--templates", inputs / "templates.yaml", "--seen-templates", 1]
    message = refused(
        "choose_templates.py", *given, "--calibration", tmp_path / "calibration.json", "--out", tmp_path / "t.yaml"
    )
    assert f"{tmp_path / 'calibration.json'}: {words}" in message
    assert [path.name for path in tmp_path.iterdir()] == ["calibration.json"]
