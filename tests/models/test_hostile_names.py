"""Names, numbers and patterns inside of a stranger's files lead nowhere: not out of the folder, not into a hang."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lora_models import trained
from script_calls import ok, refused
from sftlens.errors import ConfigError, ModelError, SftlensError
from sftlens.files import read_json, write_json
from sftlens.models import adapters, checkpoints, configuration
from sftlens.models.delta import packing
from sftlens.models.delta.reader import open_tensors
from sftlens.models.identity import describe
from sftlens.repair import prompting
from sftlens.restoration import regions
from tiny import tiny_model

INDEX = "model.safetensors.index.json"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `base`, `ft` and `delta`, packed from them."""
    folder = tmp_path_factory.mktemp("made")
    for seed, name in enumerate(("base", "ft")):
        tiny_model(folder / name, seed=seed)
    packing.pack(folder / "base", folder / "ft", folder / "delta")
    return folder


@pytest.fixture
def models(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "deep" / "models")
    return tmp_path / "deep" / "models"


@pytest.mark.parametrize("name", ["../victim.txt", "{absolute}"])
def test_unpacking_writes_nothing_outside(models: Path, tmp_path: Path, name: str) -> None:
    victim = models / "victim.txt"
    victim.write_text("mine")
    record = read_json(models / "delta" / "delta.json")
    record["files"][name.format(absolute=victim)] = record["files"].pop("model.safetensors")
    write_json(models / "delta" / "delta.json", record)
    message = refused("delta.py", "unpack", models / "delta", "--out", models / "out")
    assert "delta.json: key 'files." in message and "is no plain name of a file in this folder" in message
    assert victim.read_text() == "mine" and not (models / "out").exists()


def test_packing_copies_nothing_from_outside(models: Path) -> None:
    (models / "secret.txt").write_text("secret")
    listed = describe(models / "ft") | {"../secret.txt": {"bytes": 6, "sha256": "0" * 64}}
    write_json(models / "ft" / "sftlens.json", {"files": listed})
    (models / "place").mkdir()
    ok("delta.py", "pack", models / "base", models / "ft", "--out", models / "place" / "packed")
    assert [path.name for path in (models / "place").iterdir()] == ["packed"]
    assert not (models / "place" / "packed" / "secret.txt").exists()


@pytest.mark.parametrize("name", ["../base/model.safetensors", "{absolute}", ".hidden.safetensors"])
def test_weights_outside_of_the_folder_are_not_read(models: Path, name: str) -> None:
    shutil.copyfile(models / "base" / "model.safetensors", models / "ft" / ".hidden.safetensors")
    file = name.format(absolute=models / "base" / "model.safetensors")
    tensors = load_file(models / "base" / "model.safetensors")
    (models / "ft" / "model.safetensors").unlink()  # it would have precedence
    write_json(models / "ft" / INDEX, {"weight_map": dict.fromkeys(tensors, file)})
    with pytest.raises(ModelError, match=rf"{INDEX}: key 'weight_map\..*is no plain name of a file in this folder"):
        open_tensors(models / "ft")


@pytest.mark.parametrize(
    "index", [{"weight_map": ["a"]}, {"weight_map": {"a": None}}, {"weight_map": {"a": ["x"]}}, [], {"weight_map": {}}]
)
def test_an_index_of_another_shape_is_refused(models: Path, index: Any) -> None:
    (models / "ft" / "model.safetensors").unlink()
    write_json(models / "ft" / INDEX, index)
    with pytest.raises(ModelError, match=INDEX):
        open_tensors(models / "ft")


@pytest.mark.parametrize(
    ("edit", "key"),
    [
        (lambda c: c.update(_attn_implementation="kernels-community/flash-attn"), "attn_implementation"),
        (lambda c: c.update(attn_implementation="some/repository:kernel"), "attn_implementation"),
        (lambda c: c.update(text_config={"_attn_implementation": "a/b"}), "attn_implementation"),
        (lambda c: c.update(_experts_implementation="a/b"), "experts_implementation"),
        (lambda c: c.update(num_hidden_layers=10**9), "num_hidden_layers"),
        (lambda c: c.update(num_hidden_layers="2"), "num_hidden_layers"),
        (lambda c: c.update(n_layer=1001), "n_layer"),
        (lambda c: c.update(text_config={"num_decoder_layers": 10**7}), "num_decoder_layers"),
        (lambda c: c.update(num_labels=10**7), "num_labels"),
        (lambda c: c.update(return_dict=False), "return_dict"),
        (lambda c: c.update(hidden_size=None), "hidden_size"),
        (lambda c: c.update(vocab_size=-1), "vocab_size"),
        (lambda c: c.update(num_attention_heads=0), "num_attention_heads"),
        (lambda c: c.update(hidden_size=True), "hidden_size"),
    ],
)
def test_a_configuration_chooses_among_what_is_known(
    models: Path, edit: Callable[[dict[str, Any]], object], key: str
) -> None:
    config = read_json(models / "ft" / "config.json")
    edit(config)
    write_json(models / "ft" / "config.json", config)
    for use in (configuration.read_config, checkpoints.load_model, checkpoints.load_tokenizer):
        with pytest.raises(ModelError, match=rf"ft/config\.json: key '{key}' is .*; correct the key"):
            use(models / "ft")


def test_the_attention_of_transformers_itself_may_be_chosen(models: Path) -> None:
    config = read_json(models / "ft" / "config.json")
    write_json(models / "ft" / "config.json", config | {"_attn_implementation": "eager"})
    assert checkpoints.load_model(models / "ft", device="cpu").config._attn_implementation == "eager"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"alpha_pattern": {"(.*.*.*.*.*.*.*.*)*Z": 1}}, ""),
        ({"alpha_pattern": {"[": 1}}, "key 'alpha_pattern': '\\[' is no regular expression of RE2"),
        ({"alpha_pattern": {"(?=q)": 1}}, "key 'alpha_pattern': .* names of modules there, or merge it with peft"),
        ({"alpha_pattern": ["a"]}, "key 'alpha_pattern' is"),
        ({"alpha_pattern": {"q_proj": "x"}}, "key 'alpha_pattern.q_proj' is 'x'"),
        ({"lora_alpha": float("nan")}, "adapter_config.json: .*key \"lora_alpha\": NaN is no finite number"),
        ({"lora_alpha": "8"}, "key 'lora_alpha' is '8'"),
        ({"lora_alpha": None}, "key 'lora_alpha' is None"),
    ],
)  # fmt: skip
def test_an_adapters_configuration_is_read_in_linear_time(models: Path, config: dict[str, Any], words: str) -> None:
    adapter = trained(models / "adapter", models / "base")
    written = read_json(adapter / "adapter_config.json")
    (adapter / "adapter_config.json").write_text(json.dumps(written | config))
    if not words:
        adapters.read(adapter, open_tensors(models / "base"))
        return
    with pytest.raises(SftlensError, match=words):
        adapters.read(adapter, open_tensors(models / "base"))


def test_of_an_adapter_that_overflows_the_adapter_is_named(models: Path, tmp_path: Path) -> None:
    adapter = trained(models / "adapter", models / "base")
    written = read_json(adapter / "adapter_config.json")
    (adapter / "adapter_config.json").write_text(json.dumps(written | {"lora_alpha": 1e308}))
    with pytest.raises(ModelError, match=r"^\S*adapter: merged into its base, tensor .* lora_alpha"):
        adapters.merge(models / "base", adapter, tmp_path / "merged")


@pytest.mark.parametrize(
    ("a", "b"), [((0, 32), (32, 0)), ((32,), (32,)), ((3, 32), (32, 2))], ids=["rank 0", "vectors", "two ranks"]
)
def test_parts_of_an_adapter_that_have_no_product_are_refused(
    models: Path, a: tuple[int, ...], b: tuple[int, ...]
) -> None:
    adapter = models / "adapter"
    adapter.mkdir()
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    parts = {f"{name}A.weight": torch.zeros(a), f"{name}B.weight": torch.zeros(b)}
    save_file(parts, adapter / "adapter_model.safetensors")
    write_json(adapter / "adapter_config.json", {"peft_type": "LORA", "lora_alpha": 8, "r": 2})
    with pytest.raises(ModelError, match=r"layers\.0\.self_attn\.q_proj' has A of shape .*have no product"):
        adapters.read(adapter, open_tensors(models / "base"))


def test_a_region_is_found_in_linear_time() -> None:
    assert not regions.rule("re:(.*.*.*.*.*.*.*.*)*Z")("a" * 5000)
    assert regions.select(["h.0.attn.w", "h.0.mlp.w"], r"re:\.attn\.") == ["h.0.attn.w"]
    with pytest.raises(ConfigError, match="not a valid regular expression of RE2"):
        regions.rule("re:(?=a)")


@pytest.mark.parametrize(
    "text", ["{question:>9999999999}", "{question!r}", "{question.__class__}", "{question[0]}", "{question:{question}}"]
)
def test_a_prompt_template_holds_the_question_and_nothing_else(text: str) -> None:
    with pytest.raises(ConfigError, match="has the unknown placeholder"):
        prompting.read_template(text)


def test_a_tokenizer_outside_of_the_folder_is_not_read(models: Path) -> None:
    shutil.copyfile(models / "base" / "tokenizer.json", models / "tokenizer.1.0.json")
    path = models / "ft" / "tokenizer_config.json"
    write_json(path, read_json(path) | {"fast_tokenizer_files": ["../tokenizer.1.0.json"]})
    with pytest.raises(ModelError, match=r"tokenizer_config\.json: key 'fast_tokenizer_files\.0' is .* no plain name"):
        checkpoints.load_tokenizer(models / "ft")


@pytest.mark.parametrize("name", ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"])
@pytest.mark.parametrize("text", ["[]", "null", "{", '{"a":' * 100_000, '{"tokenizer_class": ' + "9" * 5000 + "}"])
def test_the_damaged_file_of_a_tokenizer_is_named(models: Path, name: str, text: str) -> None:
    (models / "ft" / name).write_text(text)
    with pytest.raises(SftlensError) as error:
        checkpoints.load_tokenizer(models / "ft")
    assert str(error.value).startswith(f"{models / 'ft' / name}: ") and len(str(error.value)) < 500
