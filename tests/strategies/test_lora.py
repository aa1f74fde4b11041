"""LoRA: the checkpoint is what peft merges from the adapter beside it, at every ZeRO stage."""

import json
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file

import process_groups
from sftlens.errors import ConfigError
from sftlens.models import checkpoints
from sftlens.models.delta import packing
from sftlens.training import deepspeed_engine
from strategy_runs import distance, plain, same, trained
from tiny import tiny_model

SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "model"
    tiny_model(folder)
    return folder


@pytest.fixture(scope="module")
def loop_of_peft(base):
    """What peft's own adapters become in a plain loop, and the adapter's first values."""

    def adapted(model):
        torch.manual_seed(5)
        peft.inject_adapter_in_model(peft.LoraConfig(r=16, lora_alpha=32, target_modules=SEVEN), model)

    weights = plain(base, before_training=adapted)
    modules = {name.split(".lora_A")[0] for name in weights if "lora_A" in name}
    merged = {name.replace(".base_layer", ""): weight for name, weight in weights.items() if "lora_" not in name}
    for module in modules:
        parts = [weights[f"{module}.lora_{side}.default.weight"] for side in "BA"]
        merged[f"{module}.weight"] = merged[f"{module}.weight"] + 2 * parts[0] @ parts[1]
    return merged


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_it_trains_what_a_plain_loop_with_peft_trains(base, loop_of_peft, tmp_path, stage):
    made = trained(base, tmp_path / "out", "lora", zero_stage=stage, gradient_checkpointing=stage == 2)
    assert distance(made, loop_of_peft) < 1e-5
    assert distance(made, load_file(base / "model.safetensors")) > 1e-3


@pytest.mark.parametrize(("stage", "dtype"), [(2, "bfloat16"), (3, "bfloat16"), (3, "float32")])
def test_the_checkpoint_is_what_peft_merges(base, tmp_path, stage, dtype):
    made = trained(base, tmp_path / "out", "lora", {"rank": 4}, zero_stage=stage, dtype=dtype)
    model = checkpoints.load_model(base, dtype=deepspeed_engine.DTYPES[dtype], device="cpu")
    adapted = peft.PeftModel.from_pretrained(model, tmp_path / "out/adapter")
    merged = adapted.merge_and_unload()
    assert same(dict(merged.named_parameters()), made)
    assert json.loads((tmp_path / "out/adapter/adapter_config.json").read_text())["target_modules"] == sorted(SEVEN)
    again = checkpoints.load_model(tmp_path / "out")
    assert type(again) is type(merged) and again.dtype == deepspeed_engine.DTYPES[dtype]


def test_a_delta_keeps_the_adapter(base, tmp_path):
    made = trained(base, tmp_path / "out", "lora")
    packing.pack(base, tmp_path / "out", tmp_path / "delta")
    packing.unpack(tmp_path / "delta", tmp_path / "back")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "back/adapter" / name).read_bytes() == (tmp_path / "out/adapter" / name).read_bytes()
    assert same(load_file(tmp_path / "back/model.safetensors"), made)


def _two(rank: int, base: Path, out: Path) -> None:
    with deepspeed_engine.process_group():
        for stage in (2, 3):
            trained(base, out / str(stage), "lora", zero_stage=stage, micro_batch_size=3)


def test_two_processes_train_the_same(base, loop_of_peft, tmp_path):
    assert process_groups.run(_two, 2, base, tmp_path) == [0, 0]
    for stage in ("2", "3"):
        assert distance(load_file(tmp_path / stage / "model.safetensors"), loop_of_peft) < 1e-5
        parts = load_file(tmp_path / stage / "adapter/adapter_model.safetensors")
        assert len(parts) == 2 * 2 * len(SEVEN) and all(bool(part.any()) for part in parts.values())


def test_layers_that_cannot_have_one_are_refused(base, tmp_path):
    tiny_model(tmp_path / "tied", tied=True)
    for name in ("lm_head", "embed_tokens"):
        with pytest.raises(ConfigError, match=rf"strategies.lora.modules: '{name}': .*tied ties its input and output"):
            trained(tmp_path / "tied", tmp_path / "out", "lora", {"modules": ["q_proj", name]})
    with pytest.raises(ConfigError, match=r"'q_prj': the model has no linear layer .* did you mean 'q_proj'\?"):
        trained(base, tmp_path / "out", "lora", {"modules": ["q_prj"]})
    with pytest.raises(ConfigError, match=r"'embed_tokens': the model has no linear layer .* choose among q_proj, "):
        trained(base, tmp_path / "out", "lora", {"modules": ["embed_tokens"]})
    assert not (tmp_path / "out").exists()
