"""LoRA adapters are merged as peft merges them, tensor by tensor; what cannot be is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from lora_models import trained
from sftlens.errors import ModelError
from sftlens.files import sha256
from sftlens.models import adapters
from sftlens.models.checkpoints import load_model, load_tokenizer
from tiny import tiny_model


def merged_by_peft(base: Path, adapter: Path) -> dict[str, torch.Tensor]:
    model = PeftModel.from_pretrained(load_model(base, device="cpu"), adapter)
    return dict(model.merge_and_unload().state_dict())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_rslora": True, "lora_alpha": 5},
        {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"layers.1.mlp.up_proj": 3, "k_proj": 16}},
        {"target_modules": ["embed_tokens", "lm_head", "down_proj"]},
        {"modules_to_save": ["lm_head"]},
    ],
)
def test_merged_weights_are_those_of_peft(tmp_path: Path, dtype: torch.dtype, options: dict[str, Any]) -> None:
    tiny_model(tmp_path / "base", dtype=dtype, shard_size="20KB")
    adapter = trained(tmp_path / "adapter", tmp_path / "base", **options)
    before = {path: sha256(path) for path in tmp_path.rglob("*") if path.is_file()}
    adapters.merge(tmp_path / "base", adapter, tmp_path / "merged")
    found = load_model(tmp_path / "merged", device="cpu").state_dict()
    wanted = merged_by_peft(tmp_path / "base", adapter)
    assert found.keys() == wanted.keys()
    changed = load_model(tmp_path / "base", device="cpu").state_dict()
    for name, tensor in wanted.items():
        assert found[name].dtype == dtype and torch.equal(found[name], tensor), name
    assert any(not torch.equal(found[name], changed[name]) for name in found)
    load_tokenizer(tmp_path / "merged")
    assert {path: sha256(path) for path in before} == before


def refusal(base: Path, adapter: Path, out: Path) -> str:
    with pytest.raises(ModelError) as error:
        adapters.merge(base, adapter, out)
    assert not out.exists() and "\n" not in str(error.value)
    return str(error.value)


def test_what_cannot_be_merged_is_refused(tmp_path: Path) -> None:
    base, out = tmp_path / "base", tmp_path / "out"
    tiny_model(base)
    tiny_model(tmp_path / "tied", tied=True)
    tiny_model(tmp_path / "other", vocab_size=400, arch="qwen3")
    dora = trained(tmp_path / "dora", base, use_dora=True)
    message = refusal(base, dora, out)
    assert "adapter_config.json: key 'use_dora' is set" in message and "merge_and_unload" in message
    plain = trained(tmp_path / "plain", base)
    wider = tiny_model(tmp_path / "wider")
    state = {n: torch.cat([t, t]) if "q_proj" in n else t for n, t in wider.state_dict().items()}
    save_file(state, tmp_path / "wider" / "model.safetensors", {"format": "pt"})
    message = refusal(tmp_path / "wider", plain, out)
    assert "q_proj.weight' of shape [32, 32], in" in message and "give the base that it was trained on" in message
    saved = trained(tmp_path / "saved", tmp_path / "tied", modules_to_save=["embed_tokens"])
    assert "key 'modules_to_save'" in refusal(tmp_path / "tied", saved, out)
    config = json.loads((plain / "adapter_config.json").read_text())
    (plain / "adapter_config.json").write_text(json.dumps({**config, "peft_type": "IA3"}))
    assert "'peft_type' is 'IA3', only LORA" in refusal(base, plain, out)


def test_damaged_adapters_are_refused(tmp_path: Path) -> None:
    base, out = tmp_path / "base", tmp_path / "out"
    tiny_model(base)
    adapter = trained(tmp_path / "adapter", base)
    tensors = load_file(adapter / adapters.WEIGHTS)
    name = min(tensors)
    save_file({**tensors, name: tensors[name] * torch.nan}, adapter / adapters.WEIGHTS)
    assert "holds NaN or Inf" in refusal(base, adapter, out)
    save_file({n: t for n, t in tensors.items() if n != name}, adapter / adapters.WEIGHTS)
    assert "has only B; fetch it again" in refusal(base, adapter, out)
    (adapter / adapters.WEIGHTS).unlink()
    assert "adapter_model.safetensors is missing" in refusal(base, adapter, out)
