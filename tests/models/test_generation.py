"""Generation settings beside a model: what transformers refuses costs one line, not the model, nor its training."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import GenerationConfig

from sftlens.errors import DataError, ModelError
from sftlens.inference import ends
from sftlens.models import checkpoints
from sftlens.models.configuration import GENERATION
from tiny import tiny_model

REFUSED: list[dict[str, Any]] = [
    {"eos_token_id": [2, 5], "compile_config": {"mode": "reduce-overhead"}},
    {"eos_token_id": [2, 5], "num_return_sequences": 3},
    {"eos_token_id": [2, 5], "max_new_tokens": -1},
    {"eos_token_id": [2, 5], "cache_implementation": "tomorrows"},
    {"eos_token_id": [2, 5], "early_stopping": "sometimes"},
    {"eos_token_id": [2, 5], "watermarking_config": {"greenlist_ratio": 7}},
]


@pytest.mark.parametrize("settings", REFUSED, ids=lambda settings: str(list(settings)[-1]))
def test_of_settings_that_transformers_refuses_the_token_ids_are_used(
    tmp_path: Path, settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_model(tmp_path)
    (tmp_path / GENERATION).write_text(json.dumps(settings))
    capsys.readouterr()
    model, tokenizer = checkpoints.load_model(tmp_path, device="cpu"), checkpoints.load_tokenizer(tmp_path)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"{tmp_path / GENERATION}: transformers refuses these settings" in said
    assert ends(model, tokenizer) == [2, 5]
    model.generation_config.save_pretrained(tmp_path / "saved")
    assert GenerationConfig.from_pretrained(tmp_path / "saved").eos_token_id == [2, 5]


def test_settings_that_are_fine_are_kept_and_nothing_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_model(tmp_path)
    # Of the first LLaMA 2: sampling settings without do_sample.
    (tmp_path / GENERATION).write_text('{"eos_token_id": 2, "temperature": 0.9, "top_p": 0.6}')
    capsys.readouterr()
    model = checkpoints.load_model(tmp_path, device="cpu")
    assert capsys.readouterr().err == "" and model.generation_config.temperature == 0.9
    model.generation_config.save_pretrained(tmp_path / "saved")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"eos_token_id": 2,', "not valid JSON"),
        ("[1, 2]", "is no JSON object"),
        ('{"eos_token_id": "</s>"}', "key 'eos_token_id' is '</s>', no token id"),
        ('{"eos_token_id": [[2]]}', "no token id"),
        ('{"eos_token_id": 2, "pad_token_id": [0]}', "key 'pad_token_id' is '[0]', no token id"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, text: str, words: str) -> None:
    tiny_model(tmp_path)
    (tmp_path / GENERATION).write_text(text)
    with pytest.raises((DataError, ModelError)) as caught:
        checkpoints.load_model(tmp_path, device="cpu")
    assert str(tmp_path / GENERATION) in str(caught.value) and words in str(caught.value)
