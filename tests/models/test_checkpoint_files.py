"""Checkpoints as people have them: wrappers' names, two sets of weights, pointers of git-lfs, mixed types, experts."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from lora_models import trained
from other_models import KINDS, other_model
from restoration_models import SETTINGS
from sftlens.errors import ModelError
from sftlens.files import write_json
from sftlens.models import checkpoints
from sftlens.models.delta import packing
from sftlens.models.delta.reader import open_tensors
from sftlens.models.safetensors_reader import INDEX, weight_files
from sftlens.restoration import apply, criteria, export
from sftlens.restoration.pairs import Pair
from sftlens.restoration.topk import select
from tiny import tiny_model

WEIGHTS = "model.safetensors"
EMBEDDING = "model.embed_tokens.weight"
PREFIXES = ("_orig_mod.", "module.", "_fsdp_wrapped_module.", "module._orig_mod.")


def renamed(folder: Path, prefix: str) -> None:
    """Put a prefix before the name of every tensor of a checkpoint, in one file or several."""
    for path in weight_files(folder):
        save_file({prefix + name: tensor for name, tensor in load_file(path).items()}, path, {"format": "pt"})
    if (folder / INDEX).is_file():
        index = json.loads((folder / INDEX).read_text())
        index["weight_map"] = {prefix + name: file for name, file in index["weight_map"].items()}
        write_json(folder / INDEX, index)


def same(found: Any, wanted: Any) -> bool:
    first, second = found.state_dict(), wanted.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("shard_size", ["1GB", "20KB"])
def test_the_prefixes_of_wrappers_are_taken_off(tmp_path: Path, prefix: str, shard_size: str) -> None:
    model = tiny_model(tmp_path / "model", shard_size=shard_size)
    shutil.copytree(tmp_path / "model", tmp_path / "base")
    renamed(tmp_path / "model", prefix)
    checkpoints.check_weights(tmp_path / "model")
    assert same(checkpoints.load_model(tmp_path / "model", device="cpu"), model)
    # A model that is restored from it goes by the parameters' own names, so that others can load it.
    pair = Pair(open_tensors(tmp_path / "base"), open_tensors(tmp_path / "model"), "transformer")
    ranking = criteria.make("relative", SETTINGS)
    [cut] = select(pair, ranking, [20])
    export.save_restored(apply.Restorer(pair, ranking, cut), tmp_path / "restored", "")
    assert same(AutoModelForCausalLM.from_pretrained(tmp_path / "restored"), model)
    with pytest.raises(ModelError, match="named with the prefix of a wrapper"):
        packing.pack(tmp_path / "base", tmp_path / "model", tmp_path / "delta")


def test_a_prefix_that_is_not_known_is_told(tmp_path: Path) -> None:
    tiny_model(tmp_path)
    renamed(tmp_path, "policy.")
    for check in (checkpoints.check_weights, checkpoints.load_model):
        with pytest.raises(ModelError, match=r"the weights have a prefix, 'policy\.'"):
            check(tmp_path)


def test_parts_of_a_name_that_activation_checkpointing_adds_are_taken_off(tmp_path: Path) -> None:
    model = tiny_model(tmp_path)
    stored = load_file(tmp_path / WEIGHTS)
    inside = {name.replace("self_attn.", "_checkpoint_wrapped_module.self_attn."): t for name, t in stored.items()}
    save_file(inside, tmp_path / WEIGHTS)
    assert same(checkpoints.load_model(tmp_path, device="cpu"), model)
    save_file({**{name: tensor.clone() for name, tensor in stored.items()}, **inside}, tmp_path / WEIGHTS)
    with pytest.raises(ModelError, match=r"_checkpoint_wrapped_module.* are one parameter"):
        checkpoints.load_model(tmp_path)


def test_a_single_file_has_precedence_over_shards_as_in_transformers(tmp_path: Path) -> None:
    tiny_model(tmp_path / "both", shard_size="20KB")
    newer = tiny_model(tmp_path / "single", seed=1)
    shutil.copy(tmp_path / "single" / WEIGHTS, tmp_path / "both" / WEIGHTS)
    found = checkpoints.load_model(tmp_path / "both", device="cpu")
    assert same(found, newer) and same(AutoModelForCausalLM.from_pretrained(tmp_path / "both"), newer)
    for shard in (tmp_path / "both").glob("model-0*"):
        shard.unlink()
    assert same(checkpoints.load_model(tmp_path / "both", device="cpu"), newer)


@pytest.mark.parametrize("file", [WEIGHTS, "config.json", "tokenizer.json", "generation_config.json"])
def test_a_pointer_of_git_lfs_is_named(tmp_path: Path, file: str) -> None:
    tiny_model(tmp_path)
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 4976698672\n"
    (tmp_path / file).write_text(text)
    with pytest.raises(ModelError, match=rf"{file}: is a pointer of git-lfs.*git lfs pull"):
        checkpoints.load_tokenizer(tmp_path)
        checkpoints.load_model(tmp_path)


@pytest.mark.parametrize("name", ["lm_head.weight", "model.norm.weight", "model.embed_tokens.weight"])
@pytest.mark.parametrize("other", [torch.float32, torch.float16])
def test_one_tensor_of_another_type_does_not_decide_the_models(tmp_path: Path, name: str, other: torch.dtype) -> None:
    tiny_model(tmp_path, dtype=torch.bfloat16)
    stored = load_file(tmp_path / WEIGHTS)
    save_file({n: t.to(other) if n == name else t for n, t in stored.items()}, tmp_path / WEIGHTS)
    assert checkpoints.load_model(tmp_path, device="cpu").dtype == torch.bfloat16
    values = json.loads((tmp_path / "config.json").read_text())
    del values["dtype"]
    write_json(tmp_path / "config.json", values)
    assert checkpoints.load_model(tmp_path, device="cpu").dtype == torch.bfloat16
    # The name of the key up to version 4 of transformers.
    write_json(tmp_path / "config.json", {**values, "torch_dtype": "float16"})
    assert checkpoints.load_model(tmp_path, device="cpu").dtype == torch.float16


def test_files_without_metadata_load(tmp_path: Path) -> None:
    model = tiny_model(tmp_path)
    save_file(load_file(tmp_path / WEIGHTS), tmp_path / WEIGHTS)
    with safe_open(tmp_path / WEIGHTS, "pt") as file:
        assert not file.metadata()
    assert same(checkpoints.load_model(tmp_path, device="cpu"), model)


@pytest.mark.parametrize(
    "kept", [["model.embed_tokens.weight"], ["lm_head.weight"], ["model.embed_tokens.weight", "lm_head.weight"]]
)
def test_tied_weights_may_be_stored_once_under_either_name_or_twice(tmp_path: Path, kept: list[str]) -> None:
    model = tiny_model(tmp_path, tied=True)
    stored = load_file(tmp_path / WEIGHTS)
    embedding = stored.pop(EMBEDDING)
    save_file({**stored, **{name: embedding.clone() for name in kept}}, tmp_path / WEIGHTS)
    checkpoints.check_weights(tmp_path)
    assert same(checkpoints.load_model(tmp_path, device="cpu"), model)


@pytest.mark.parametrize("kind", KINDS)
def test_experts_and_text_decoders_of_multimodal_models_load(tmp_path: Path, kind: str) -> None:
    """Their weights are stored under other names, and cut otherwise, than transformers keeps them in memory."""
    wanted = other_model(tmp_path, kind)
    checkpoints.check_weights(tmp_path)
    assert same(checkpoints.load_model(tmp_path, device="cpu"), wanted)
    stored = load_file(tmp_path / WEIGHTS)
    name = next(name for name in stored if "experts.1" in name or "up_proj" in name)
    save_file({n: t for n, t in stored.items() if n != name}, tmp_path / WEIGHTS)
    for check in (checkpoints.check_weights, checkpoints.load_model):
        with pytest.raises(ModelError, match=r"is in none of the weight files|a tensor is missing"):
            check(tmp_path)


@pytest.mark.parametrize("kind", [torch.bool, torch.uint8, torch.float32])
def test_causal_masks_that_old_checkpoints_store_are_no_parameters(tmp_path: Path, kind: torch.dtype) -> None:
    config = GPT2Config(vocab_size=400, n_positions=64, n_embd=32, n_layer=2, n_head=4)
    model = GPT2LMHeadModel(config)
    model.save_pretrained(tmp_path)
    stored = load_file(tmp_path / WEIGHTS)
    for layer in range(2):
        stored[f"transformer.h.{layer}.attn.bias"] = torch.ones(1, 1, 64, 64).tril().to(kind)
        stored[f"transformer.h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    save_file(stored, tmp_path / WEIGHTS)
    checkpoints.check_weights(tmp_path)
    assert same(checkpoints.load_model(tmp_path, device="cpu"), model)


def test_what_programs_would_load_differently_is_named(tmp_path: Path) -> None:
    tiny_model(tmp_path / "model")
    values = json.loads((tmp_path / "model/config.json").read_text())
    write_json(tmp_path / "model/config.json", {**values, "transformers_weights": "other.safetensors"})
    with pytest.raises(ModelError, match=r"config\.json: key 'transformers_weights' names 'other.safetensors'"):
        checkpoints.load_model(tmp_path / "model")
    write_json(tmp_path / "model/config.json", values)
    adapter = trained(tmp_path / "adapter", tmp_path / "model")
    with pytest.raises(ModelError, match="adapter: is an adapter, no model; give it to sftlens check or repair"):
        checkpoints.load_model(adapter)
    shutil.copy(adapter / "adapter_config.json", tmp_path / "model")
    with pytest.raises(ModelError, match="model: holds an adapter beside the weights of a model"):
        checkpoints.load_model(tmp_path / "model")
