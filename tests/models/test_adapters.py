"""LoRA adapters are merged as peft merges them, tensor by tensor; what cannot be is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from lora_models import ALL, trained
from sftlens.errors import ModelError
from sftlens.files import sha256
from sftlens.models import adapter_config, adapters
from sftlens.models.checkpoints import load_model, load_tokenizer
from tiny import tiny_model, tiny_tokenizer

WEIGHTS = "model.safetensors"


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
        {"init_lora_weights": "gaussian"},
        {"init_lora_weights": "orthogonal"},
        {"use_dora": True},
        {"use_dora": True, "target_modules": ["embed_tokens", "lm_head", "up_proj"]},
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


def edit(adapter: Path, **changes: Any) -> None:
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, **changes}))


def refusal(base: Path, adapter: Path, out: Path) -> str:
    with pytest.raises(ModelError) as error:
        adapters.merge(base, adapter, out)
    assert not out.exists() and "\n" not in str(error.value)
    return str(error.value)


def test_what_cannot_be_merged_is_refused(tmp_path: Path) -> None:
    base, out = tmp_path / "base", tmp_path / "out"
    tiny_model(base)
    plain = trained(tmp_path / "plain", base)
    edit(trained(tmp_path / "new", base), some_new_method={"rank": 3})
    message = refusal(base, tmp_path / "new", out)
    assert "adapter_config.json: key 'some_new_method' is set" in message and "merge_and_unload" in message
    wider = tiny_model(tmp_path / "wider")
    state = {n: torch.cat([t, t]) if "q_proj" in n else t for n, t in wider.state_dict().items()}
    save_file(state, tmp_path / "wider" / "model.safetensors", {"format": "pt"})
    message = refusal(tmp_path / "wider", plain, out)
    assert "q_proj.weight' of shape [32, 32], in" in message and "give the base that it was trained on" in message
    edit(plain, peft_type="IA3")
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
    assert "has only B of A, B; fetch it again" in refusal(base, adapter, out)
    (adapter / adapters.WEIGHTS).unlink()
    assert "adapter_model.safetensors is missing" in refusal(base, adapter, out)


IDS = torch.tensor([[1, 5, 9, 20, 31]])


def logits_of(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return cast("torch.Tensor", model.eval()(input_ids=IDS).logits)


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": ["embed_tokens", "q_proj"]},
        {"target_modules": ["lm_head", "q_proj"]},
        {"target_modules": ["embed_tokens", "lm_head"]},
        {"target_modules": ["embed_tokens"], "use_dora": True},
        {"target_modules": ["embed_tokens"], "ensure_weight_tying": True},
        {"modules_to_save": ["embed_tokens"]},
        {"modules_to_save": ["lm_head"]},
        {"modules_to_save": ["embed_tokens", "lm_head"]},
        {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
        {"target_modules": ["q_proj"]},
    ],
    ids=str,
)
def test_a_change_of_a_tied_embedding_is_that_of_the_model_with_its_adapter(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    tiny_model(tmp_path / "base", tied=True)
    adapter = trained(tmp_path / "adapter", tmp_path / "base", **options)
    adapters.merge(tmp_path / "base", adapter, tmp_path / "merged")
    merged = load_model(tmp_path / "merged", device="cpu")
    # merge_and_unload changes both of the tied embeddings where only one was trained; the model in use does not.
    wanted = logits_of(PeftModel.from_pretrained(load_model(tmp_path / "base", device="cpu"), adapter))
    assert torch.allclose(logits_of(merged), wanted, atol=1e-4)
    still = ("lm_head" not in str(options) and "embed" not in str(options)) or (
        "ensure_weight_tying" in options and "modules_to_save" in options
    )
    assert merged.config.tie_word_embeddings == still
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert torch.equal(logits_of(again), logits_of(merged))
    if "modules_to_save" in options:
        states = merged.state_dict()
        assert all(torch.equal(states[n], t) for n, t in merged_by_peft(tmp_path / "base", adapter).items())


def test_a_tied_embedding_that_cannot_be_told_apart_is_refused(tmp_path: Path) -> None:
    config = GPT2Config(vocab_size=400, n_positions=64, n_embd=32, n_layer=2, n_head=4)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt2")
    tiny_tokenizer().save_pretrained(tmp_path / "gpt2")
    adapter = trained(tmp_path / "wte", tmp_path / "gpt2", target_modules=["wte", "c_fc"], fan_in_fan_out=True)
    message = refusal(tmp_path / "gpt2", adapter, tmp_path / "out")
    assert "changes 'transformer.wte.weight'" in message and "ties to another tensor; merge it with peft" in message
    plain = trained(tmp_path / "plain", tmp_path / "gpt2", target_modules=["c_attn", "c_fc"], fan_in_fan_out=True)
    adapters.merge(tmp_path / "gpt2", plain, tmp_path / "merged")
    found = load_model(tmp_path / "merged", device="cpu").state_dict()
    assert all(torch.equal(found[name], t) for name, t in merged_by_peft(tmp_path / "gpt2", plain).items())

    # The tied tensor under its second name alone.
    tiny_model(tmp_path / "base", tied=True)
    adapter = trained(tmp_path / "adapter", tmp_path / "base", target_modules=["embed_tokens"])
    stored = load_file(tmp_path / "base" / WEIGHTS)
    stored["lm_head.weight"] = stored.pop("model.embed_tokens.weight")
    save_file(stored, tmp_path / "base" / WEIGHTS)
    assert "ties to another tensor" in refusal(tmp_path / "base", adapter, tmp_path / "out")


@pytest.mark.parametrize("start", ["pissa", "pissa_niter_4", "olora", "corda", "lora_ga", "loftq", "eva", "tomorrows"])
def test_an_initialisation_that_may_change_the_base_is_refused(tmp_path: Path, start: str) -> None:
    tiny_model(tmp_path / "base")
    options = {"init_lora_weights": start} if start in ("pissa", "olora") else {}
    adapter = trained(tmp_path / "adapter", tmp_path / "base", **options)
    edit(adapter, init_lora_weights=start)
    message = refusal(tmp_path / "base", adapter, tmp_path / "out")
    assert f"key 'init_lora_weights' is {start!r}" in message and "merge_and_unload" in message
    assert ("path_initial_model_for_weight_conversion" in message) == (start not in ("eva", "tomorrows"))


@pytest.mark.parametrize("start", ["pissa", "olora"])
def test_a_converted_adapter_is_merged(tmp_path: Path, start: str) -> None:
    tiny_model(tmp_path / "base")
    before = load_model(tmp_path / "base", device="cpu")
    model = get_peft_model(before, LoraConfig(r=4, lora_alpha=8, target_modules=ALL, init_lora_weights=start))
    model.save_pretrained(tmp_path / "start")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter += 0.1
    wanted = logits_of(model)
    model.save_pretrained(tmp_path / "adapter", path_initial_model_for_weight_conversion=tmp_path / "start")
    adapters.merge(tmp_path / "base", tmp_path / "adapter", tmp_path / "merged")
    found = load_model(tmp_path / "merged", device="cpu")
    assert torch.allclose(logits_of(found), wanted, atol=1e-3)
    by_peft = merged_by_peft(tmp_path / "base", tmp_path / "adapter")
    assert all(torch.equal(found.state_dict()[name], tensor) for name, tensor in by_peft.items())


ROOT = "base_model.model."
FORMS: dict[str, Callable[[str], str]] = {
    "trained on the bare model": lambda name: name.replace(ROOT + "model.", ROOT),
    "no prefix": lambda name: name.removeprefix(ROOT),
    "text part of a multimodal model": lambda name: name.replace(ROOT + "model.", ROOT + "model.language_model."),
    "the same, in older versions": lambda name: name.replace(ROOT + "model.", ROOT + "language_model.model."),
    "torch.compile": lambda name: name.replace(ROOT, ROOT + "_orig_mod."),
    "torch.compile around all": lambda name: "_orig_mod." + name,
    "DDP": lambda name: "module." + name,
    "FSDP": lambda name: name.replace("self_attn.", "_fsdp_wrapped_module.self_attn."),
    "adapter name in the keys": lambda name: name.replace(".weight", ".default.weight"),
}


@pytest.mark.parametrize("form", FORMS)
def test_other_names_of_the_same_modules_are_understood(tmp_path: Path, form: str) -> None:
    tiny_model(tmp_path / "base")
    adapter = trained(tmp_path / "adapter", tmp_path / "base", use_dora=True, modules_to_save=["norm"])
    adapters.merge(tmp_path / "base", adapter, tmp_path / "wanted")
    tensors = load_file(adapter / adapters.WEIGHTS)
    renamed = {FORMS[form](name): tensor for name, tensor in tensors.items() if "lora_" in name}
    renamed |= {name: tensor for name, tensor in tensors.items() if "lora_" not in name}
    assert renamed.keys() != tensors.keys()
    save_file(renamed, adapter / adapters.WEIGHTS)
    adapters.merge(tmp_path / "base", adapter, tmp_path / "merged")
    assert sha256(tmp_path / "merged" / WEIGHTS) == sha256(tmp_path / "wanted" / WEIGHTS)


def test_a_prefix_that_is_not_known_is_named(tmp_path: Path) -> None:
    tiny_model(tmp_path / "base")
    adapter = trained(tmp_path / "adapter", tmp_path / "base")
    tensors = load_file(adapter / adapters.WEIGHTS)
    save_file({name.replace(ROOT, ROOT + "policy."): t for name, t in tensors.items()}, adapter / adapters.WEIGHTS)
    assert "its keys have a prefix, 'policy.'" in refusal(tmp_path / "base", adapter, tmp_path / "out")


def test_saved_modules_of_training_checkpoints_are_understood(tmp_path: Path) -> None:
    tiny_model(tmp_path / "base")
    adapter = trained(tmp_path / "adapter", tmp_path / "base", modules_to_save=["lm_head"])
    adapters.merge(tmp_path / "base", adapter, tmp_path / "wanted")
    tensors = load_file(adapter / adapters.WEIGHTS)
    for infix in ("modules_to_save", "modules_to_save.default"):
        renamed = {name.replace("lm_head.weight", f"lm_head.{infix}.weight"): t for name, t in tensors.items()}
        assert renamed.keys() != tensors.keys()
        save_file(renamed, adapter / adapters.WEIGHTS)
        adapters.merge(tmp_path / "base", adapter, tmp_path / infix)
        assert sha256(tmp_path / infix / WEIGHTS) == sha256(tmp_path / "wanted" / WEIGHTS)


def test_several_adapters_in_one_file_are_refused(tmp_path: Path) -> None:
    tiny_model(tmp_path / "base")
    adapter = trained(tmp_path / "adapter", tmp_path / "base")
    tensors = load_file(adapter / adapters.WEIGHTS)
    twice = {name.replace(".weight", f".{own}.weight"): t.clone() for name, t in tensors.items() for own in ("a", "b")}
    save_file(twice, adapter / adapters.WEIGHTS)
    assert "holds several adapters" in refusal(tmp_path / "base", adapter, tmp_path / "out")


@pytest.mark.parametrize(
    ("named", "quantised"),
    [
        ("unsloth/llama-3-8b-bnb-4bit", True),
        ("org/Model-7B-GPTQ", True),
        ("org/model_int8", True),
        ("meta-llama/Llama-3.1-8B", False),
        ("org/bit-of-everything", False),
    ],
)
def test_the_base_that_an_adapter_names_is_told(tmp_path: Path, named: str, quantised: bool) -> None:
    tiny_model(tmp_path / "base")
    adapter = trained(tmp_path / "adapter", tmp_path / "base")
    edit(adapter, base_model_name_or_path=named)
    told = adapter_config.origin(adapter, tmp_path / "base")
    assert named in told and str(tmp_path / "base") in told and ("quantised" in told) == quantised


def test_a_base_that_lies_here_tells_by_itself_that_it_is_quantised(tmp_path: Path) -> None:
    tiny_model(tmp_path / "base")
    adapter = trained(tmp_path / "adapter", tmp_path / "base")
    assert "quantised" not in adapter_config.origin(adapter, tmp_path / "base")
    config = json.loads((tmp_path / "base/config.json").read_text())
    (tmp_path / "base/config.json").write_text(json.dumps({**config, "quantization_config": {"bits": 4}}))
    assert "quantised" in adapter_config.origin(adapter, tmp_path / "other")
