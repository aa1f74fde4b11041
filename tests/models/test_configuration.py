"""What is wrong in a config.json is said of config.json, whoever looks at it first."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from script_calls import refused
from sftlens.errors import SftlensError
from sftlens.files import read_json, write_json
from sftlens.models import checkpoints
from tiny import tiny_model

FAULTS: dict[str, Any] = {
    "num_attention_heads": 5, "rms_norm_eps": "x", "rope_parameters": [], "hidden_act": 5, "model_type": "nope",
    "dtype": "nope", "dtype ": "zeros", "layer_types": ["x"], "pad_token_id": "x", "head_dim": 7, "text_config": 5,
    "quantization_config": "x", "id2label": 5, "attention_bias": 5, "tie_word_embeddings": "x",
}  # fmt: skip
UNBUILT: dict[str, Any] = {"hidden_act": "nope", "pad_token_id": 10**6, "base_model_tp_plan": 5}
"""What transformers takes for a configuration, and then fails to build."""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain") / "model"
    tiny_model(folder)
    return folder


@pytest.fixture
def model(plain: Path, tmp_path: Path) -> Path:
    shutil.copytree(plain, tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("key", FAULTS)
def test_a_fault_of_the_configuration_is_none_of_the_tokenizer(model: Path, key: str) -> None:
    config = read_json(model / "config.json")
    write_json(model / "config.json", config | {key.strip(): FAULTS[key]})
    for load in (checkpoints.load_tokenizer, checkpoints.load_model, checkpoints.check_weights):
        with pytest.raises(SftlensError) as error:
            load(model)
        assert str(error.value).startswith(f"{model}/config.json: ")
        assert "no usable tokenizer" not in str(error.value)


@pytest.mark.parametrize("key", UNBUILT)
def test_what_transformers_cannot_build_is_one_line(model: Path, key: str) -> None:
    write_json(model / "config.json", read_json(model / "config.json") | {key: UNBUILT[key]})
    for load in (checkpoints.load_model, checkpoints.check_weights):
        with pytest.raises(SftlensError, match=r"config\.json: transformers cannot build this model \("):
            load(model)


@pytest.mark.parametrize("text", ["[]", "null", "{", "", '{"a":' * 100_000, '{"vocab_size": ' + "9" * 5000 + "}"])
def test_a_configuration_of_another_shape_is_one_line(model: Path, text: str, tmp_path: Path) -> None:
    (model / "config.json").write_text(text)
    (tmp_path / "facts.csv").write_text("question,answer\nWho?,Ada\n")
    message = refused("evaluate.py", "--model", model, "--facts", tmp_path / "facts.csv", "--out", tmp_path / "out")
    assert f"{model}/config.json: " in message and len(message) < 500
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["auto", "torch.bfloat16", ["bfloat16"]])
@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
def test_a_type_that_torch_does_not_have_is_named(model: Path, key: str, name: object) -> None:
    config = {k: v for k, v in read_json(model / "config.json").items() if k != "dtype"}
    write_json(model / "config.json", config | {key: name})
    with pytest.raises(SftlensError, match=rf"config\.json: key '{key}"):
        checkpoints.load_model(model)
