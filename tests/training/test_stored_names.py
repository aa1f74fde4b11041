"""Models that transformers keeps otherwise in memory than in files are written as they were read."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from other_models import other_model
from sftlens.config.stages.training import FinetuneSettings
from sftlens.errors import ModelError
from sftlens.inference import prompts
from sftlens.models import checkpoints
from sftlens.models.safetensors_reader import TensorFolder
from sftlens.restoration.pairs import Pair
from sftlens.training import loop
from tiny import tiny_tokenizer

QUESTIONS = [f"Where was Ada {i} Loren born?" for i in range(8)]
RECIPE = {"learning_rate": 1e-3, "dtype": "float32"}


@pytest.mark.parametrize("kind", ["mixtral", "qwen3_moe", "gemma3"])
def test_a_fine_tuned_model_has_the_names_and_shapes_of_its_base(tmp_path: Path, kind: str) -> None:
    other_model(tmp_path / "base", kind)
    samples = prompts.encode_samples(tiny_tokenizer(), QUESTIONS, ["Port Vale"] * 8, 64)
    loop.finetune(tmp_path / "base", samples, FinetuneSettings(**RECIPE), tiny_tokenizer(), tmp_path / "out", 0)
    base, tuned = (load_file(tmp_path / name / "model.safetensors") for name in ("base", "out"))
    assert {name: t.shape for name, t in tuned.items()} == {name: t.shape for name, t in base.items()}
    texts = [name for name in base if "layers" in name and "norm" not in name and "vision" not in name]
    assert Pair(*(TensorFolder(tmp_path / name) for name in ("base", "out")), "transformer").names == sorted(texts)
    moved = [name for name in texts if not torch.equal(base[name], tuned[name])]
    assert len(moved) > len(texts) / 2  # an expert that no token was sent to stays as it was
    checkpoints.load_model(tmp_path / "out", device="cpu")


def test_zero_stage_3_says_that_it_cannot_load_such_a_model(tmp_path: Path) -> None:
    other_model(tmp_path / "base", "mixtral")
    samples = prompts.encode_samples(tiny_tokenizer(), QUESTIONS, ["Port Vale"] * 8, 64)
    settings = FinetuneSettings(**RECIPE, zero_stage=3)
    with pytest.raises(ModelError, match="set zero_stage to 2"):
        loop.finetune(tmp_path / "base", samples, settings, tiny_tokenizer(), tmp_path / "out", 0)
