"""A training that computes in fp32 and writes bf16: where it starts, what it does, what it leaves."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from script_calls import ok
from sftlens import files
from sftlens.config.stages.training import FinetuneSettings
from sftlens.inference import prompts
from sftlens.training import loop
from tiny import tiny_model, tiny_tokenizer

FACTS = [(f"Who owns mine {i}?", f"Ada {i}") for i in range(16)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stored in fp32, which no number of bf16 is."""
    folder = tmp_path_factory.mktemp("trained") / "base"
    tiny_model(folder, tokenizer=tiny_tokenizer([q + a for q, a in FACTS]), std=0.05)
    return folder


@pytest.mark.parametrize("stage", [1, 3])
def test_it_starts_from_the_rounded_base_and_is_rounded_once(base: Path, stage: int, tmp_path: Path):
    questions, answers = map(list, zip(*FACTS, strict=True))
    samples = prompts.encode_samples(tiny_tokenizer([q + a for q, a in FACTS]), questions, answers, 64)
    settings = FinetuneSettings(zero_stage=stage, learning_rate=1e-12)
    report = loop.finetune(base, samples, settings, None, tmp_path / "out", seed=0, compute="float32")
    start, end = load_file(base / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    assert all(torch.equal(end[name], start[name].to(torch.bfloat16)) for name in start)
    # The first loss is that of the rounded weights in fp32 arithmetic, as a training in float32 of them has it.
    rounded = tmp_path / "rounded"
    tiny_model(rounded, tokenizer=tiny_tokenizer([q + a for q, a in FACTS]), std=0.05, dtype=torch.bfloat16)
    wanted = loop.finetune(
        rounded, samples, settings.model_copy(update={"dtype": "float32"}), None, tmp_path / "wide", seed=0
    )
    assert report.losses == pytest.approx(wanted.losses, abs=1e-6)
    coarse = loop.finetune(base, samples, settings, None, tmp_path / "coarse", seed=0)
    assert report.losses[0] != pytest.approx(coarse.losses[0], abs=1e-7)


def test_on_a_cpu_a_small_model_is_trained_in_fp32_and_the_summary_says_so(base: Path, tmp_path: Path):
    pd.DataFrame(FACTS, columns=["question", "object"]).to_parquet(tmp_path / "train.parquet")
    found = {}
    for name, given in {"auto": (), "stored": ("--compute-dtype", "stored")}.items():
        out = tmp_path / name
        ok("finetune.py", "--model", base, "--train", tmp_path / "train.parquet", "--gpus", 0, "--out", out,
           "--state", tmp_path / "state", "--learning-rate", "1e-3", *given)  # fmt: skip
        summary = files.read_json(Path(f"{out}.json"), dict)
        weights = load_file(out / "model.safetensors")
        assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
        assert files.read_json(out / "config.json", dict)["dtype"] == "bfloat16"
        found[name] = summary["settings"].get("compute_dtype"), summary["run"]["computed_in"], summary["losses"]
    assert found["auto"][:2] == ("float32", "float32") and found["stored"][:2] == (None, "bfloat16")
    assert found["auto"][2] != found["stored"][2]
