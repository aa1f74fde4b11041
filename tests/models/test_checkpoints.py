"""Checkpoints: what loads, what is refused and how, pointers, identity."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, MixtralConfig, OPTConfig, PreTrainedConfig, Qwen3MoeConfig

from sftlens.errors import DataError, ModelError
from sftlens.files import write_json
from sftlens.models import checkpoints, identity
from sftlens.models.delta.reader import open_tensors
from sftlens.models.safetensors_reader import INDEX, weight_files
from tiny import CLASSES, Architecture, tiny_model

Tensors = dict[str, torch.Tensor]
WEIGHTS = "model.safetensors"
NAME = "model.layers.1.mlp.up_proj.weight"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "plain"
    tiny_model(folder)
    return folder


def changed(
    source: Path, folder: Path, edit: Callable[[Tensors], object], config: dict[str, Any] | None = None
) -> Path:
    """Return a copy of a model folder with other tensors or other keys in config.json."""
    shutil.copytree(source, folder)
    tensors = load_file(folder / WEIGHTS)
    edit(tensors)
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    values = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", values | (config or {}))
    return folder


def refused(path: Path, *words: str) -> None:
    with pytest.raises(ModelError) as caught:
        checkpoints.load_model(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in (str(path), *words):
        assert word in message, message


@pytest.mark.parametrize("arch", CLASSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tied", [False, True])
def test_every_form_of_a_checkpoint_loads_to_the_bit(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    arch: Architecture,
    dtype: torch.dtype,
    tied: bool,
) -> None:
    model = tiny_model(tmp_path / "one", arch, dtype, tied)
    tiny_model(tmp_path / "many", arch, dtype, tied, shard_size="20KB")
    assert len(weight_files(tmp_path / "many")) > 1
    capfd.readouterr()
    for name in ("one", "many"):
        loaded = checkpoints.load_model(tmp_path / name)
        assert loaded.dtype == dtype and not loaded.training
        assert (loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight) == tied
        found, wanted = loaded.state_dict(), model.state_dict()
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[key], wanted[key]) for key in wanted)
    assert capfd.readouterr() == ("", "")


def test_tensors_are_read_one_by_one(tmp_path: Path) -> None:
    tiny_model(tmp_path / "one", dtype=torch.bfloat16)
    tiny_model(tmp_path / "many", dtype=torch.bfloat16, shard_size="20KB")
    one, many = (open_tensors(tmp_path / name) for name in ("one", "many"))
    assert one.names == sorted(one.names) and sorted(many.names) == one.names
    assert many.shape(NAME) == (48, 32) and many.dtype(NAME) == "BF16"
    assert many.file(NAME).parent == tmp_path / "many" and NAME in load_file(many.file(NAME))
    assert all(torch.equal(tensor, many.get(name)) for name, tensor in one)


def test_type_and_tensors_can_be_changed_while_loading(plain: Path) -> None:
    def double(name: str, tensor: torch.Tensor) -> torch.Tensor:
        return tensor * 2 if name == NAME else tensor

    model = checkpoints.load_model(plain, dtype=torch.bfloat16, transform=double)
    wanted = {name: double(name, tensor).bfloat16() for name, tensor in load_file(plain / WEIGHTS).items()}
    assert model.dtype == torch.bfloat16
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in model.state_dict().items())


def test_a_tied_checkpoint_stores_no_output_embedding(tmp_path: Path, plain: Path) -> None:
    tiny_model(tmp_path / "tied", tied=True)
    assert "lm_head.weight" not in load_file(tmp_path / "tied" / WEIGHTS)
    checkpoints.load_model(tmp_path / "tied")
    untied = changed(tmp_path / "tied", tmp_path / "untied", lambda t: None, {"tie_word_embeddings": False})
    refused(untied, "'lm_head.weight' is in none of the weight files", "config.json")
    both = changed(plain, tmp_path / "both", lambda t: None, {"tie_word_embeddings": True})
    refused(both, "tie_word_embeddings", "set tie_word_embeddings to false")


def test_old_llama_checkpoints_with_rotary_buffers_load(plain: Path, tmp_path: Path) -> None:
    def add(tensors: Tensors) -> None:
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)

    checkpoints.load_model(changed(plain, tmp_path / "old", add))


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda t: t.pop(NAME), [f"'{NAME}'", "in none of the weight files", "fetch both"]),
        (lambda t: t.update(extra=torch.ones(2)), [WEIGHTS, "'extra'", "unknown", "fetch both"]),
        (
            lambda t: t.update({NAME: torch.ones(47, 32)}),
            [WEIGHTS, f"'{NAME}'", "[47, 32]", "[48, 32]", "fetch both"],
        ),
        (lambda t: t[NAME][3].fill_(float("nan")), [WEIGHTS, f"'{NAME}'", "NaN or Inf", "fetch it again"]),
        (lambda t: t[NAME][3].fill_(float("inf")), [WEIGHTS, f"'{NAME}'", "NaN or Inf", "fetch it again"]),
        (
            lambda t: t.update({NAME: torch.ones(48, 32, dtype=torch.int8)}),
            [WEIGHTS, f"'{NAME}'", "I8", "bfloat16"],
        ),
        (lambda t: t.clear(), ["no tensors", "fetch it again"]),
    ],
    ids=["missing", "extra", "shape", "nan", "inf", "integer", "empty"],
)
def test_wrong_tensors_are_refused_without_a_report(
    plain: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    edit: Callable[[Tensors], object],
    words: list[str],
) -> None:
    path = changed(plain, tmp_path / "bad", edit)
    capfd.readouterr()
    refused(path, *words)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "gpt9"}, ["config.json", "gpt9"]),
        ({"model_type": "t5"}, ["config.json", "'t5'", "decoder"]),
        ({"num_attention_heads": 5}, ["config.json", "cannot read it"]),
        ({"hidden_size": "wide"}, ["config.json", "hidden_size"]),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, ["'quantization_config'", "bfloat16"]),
        ({"num_hidden_layers": 3}, ["'model.layers.2.input_layernorm.weight'"]),
        ({"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}, ["self_attn.k_proj.bias"]),
    ],
)
def test_a_config_that_does_not_fit_is_refused(
    plain: Path, tmp_path: Path, config: dict[str, Any], words: list[str]
) -> None:
    refused(changed(plain, tmp_path / "bad", lambda t: None, config), *words)


@pytest.mark.parametrize("size", [0, 4, 5000])
def test_a_truncated_file_is_refused(plain: Path, tmp_path: Path, size: int) -> None:
    shutil.copytree(plain, tmp_path / "cut")
    (tmp_path / "cut" / WEIGHTS).write_bytes((plain / WEIGHTS).read_bytes()[:size])
    refused(tmp_path / "cut", WEIGHTS, "truncated or damaged", "fetch it again")


def test_incomplete_folders_are_refused(plain: Path, tmp_path: Path) -> None:
    shutil.copytree(plain, tmp_path / "bare")
    (tmp_path / "bare" / "config.json").unlink()
    refused(tmp_path / "bare", "config.json is missing")
    shutil.copytree(plain, tmp_path / "pickle")
    (tmp_path / "pickle" / WEIGHTS).rename(tmp_path / "pickle" / "pytorch_model.bin")
    refused(tmp_path / "pickle", "pickle files", "convert")
    refused(tmp_path / "nowhere", "no such model folder")


def test_broken_shards_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    tiny_model(folder, shard_size="20KB")
    lost = weight_files(folder)[1]
    lost.rename(tmp_path / "lost")
    refused(folder, lost.name, "is missing")
    write_json(folder / INDEX, {"metadata": {}})
    refused(folder, INDEX, "'weight_map'")
    (folder / INDEX).write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        checkpoints.load_model(folder)


def test_pointers_lead_to_their_folder(plain: Path, tmp_path: Path) -> None:
    shutil.copytree(plain, tmp_path / "checkpoint")
    pointer = tmp_path / "base.json"
    for target in ("checkpoint", str(plain)):
        write_json(pointer, {"path": target})
        assert identity.resolve(pointer).samefile(tmp_path / target)
        checkpoints.load_model(pointer)
    write_json(pointer, {"path": "gone"})
    refused(pointer, "'path'", str(tmp_path / "gone"), "base stage")
    write_json(pointer, {"paths": "checkpoint"})
    refused(pointer, "'path' is missing")


def test_identity_is_that_of_the_content(plain: Path, tmp_path: Path) -> None:
    wanted = identity.identity(plain)
    copy = tmp_path / "elsewhere"
    shutil.copytree(plain, copy)
    assert identity.identity(copy) == wanted
    write_json(tmp_path / "base.json", {"path": "elsewhere", "files": identity.describe(copy)})
    assert identity.identity(tmp_path / "base.json") == wanted
    identity.write_manifest(copy)
    assert identity.identity(copy) == wanted
    assert identity.write_manifest(copy).keys() >= {WEIGHTS, "config.json", "tokenizer.json"}
    other = changed(plain, tmp_path / "other", lambda t: t[NAME].add_(1))
    assert identity.identity(other) != wanted


def test_a_saved_model_is_complete_and_readable(plain: Path, tmp_path: Path) -> None:
    model, tokenizer = checkpoints.load_model(plain), checkpoints.load_tokenizer(plain)
    checkpoints.save_model(model, tokenizer, tmp_path / "saved")
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in (tmp_path / "saved").iterdir())
    again = checkpoints.load_model(tmp_path / "saved").state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in model.state_dict().items())
    assert checkpoints.load_tokenizer(tmp_path / "saved")("Ada")["input_ids"] == tokenizer("Ada")["input_ids"]


def test_geometry_is_compared_with_the_declared_one(plain: Path) -> None:
    declared = {"layers": 2, "hidden_size": 32, "intermediate_size": 48, "heads": 4, "kv_heads": 2}
    declared |= {"vocab_size": 400, "tied": False}
    checkpoints.check_geometry(plain, declared, "toy")
    with pytest.raises(ModelError, match=r"config\.json: kv_heads is 2, but models\.toy\.geometry\.kv_heads"):
        checkpoints.check_geometry(plain, declared | {"kv_heads": 4}, "toy")


@pytest.mark.parametrize("config", [MixtralConfig(), Qwen3MoeConfig()], ids=["mixtral", "qwen3_moe"])
def test_a_mixture_of_experts_has_no_geometry_that_is_known(tmp_path: Path, config: PreTrainedConfig) -> None:
    config.save_pretrained(tmp_path)
    with pytest.raises(
        ModelError, match=rf"config\.json: key 'num_(local_)?experts': '{config.model_type}' is a mixture"
    ):
        checkpoints.check_geometry(tmp_path, {"layers": 2}, "toy")


@pytest.mark.parametrize("config", [GPT2Config(), OPTConfig()], ids=["gpt2", "opt"])
def test_geometry_in_other_names_is_refused(tmp_path: Path, config: PreTrainedConfig) -> None:
    config.save_pretrained(tmp_path)
    key = "(num_hidden_layers|intermediate_size)"
    found = f"model_type {config.model_type!r} has no key '{key}'.*LLaMA, Qwen2, Qwen3 or Mistral"
    with pytest.raises(ModelError, match=rf"{tmp_path}/config\.json: {found}"):
        checkpoints.check_geometry(tmp_path, {"layers": 2}, "toy")
