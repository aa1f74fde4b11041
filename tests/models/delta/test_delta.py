"""Models stored as differences from their base: bit for bit the same, and refused where the base is another."""

import copy
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from restoration_models import SHAPES, Tensors
from script_calls import ok, refused
from sftlens.errors import ModelError
from sftlens.files import read_json, write_json
from sftlens.models.checkpoints import load_model, load_tokenizer
from sftlens.models.delta import packing as deltas
from sftlens.models.delta.reader import open_tensors
from sftlens.models.identity import describe, identity
from tiny import tiny_model

WIDTHS = {torch.bfloat16: torch.int16, torch.float16: torch.int16, torch.float32: torch.int32}


def any_bits(seed: int, dtype: torch.dtype) -> Tensors:
    """Return tensors of random bit patterns: NaN of any payload, Inf, subnormals; one holds both zeros and extremes."""
    generator = torch.Generator().manual_seed(seed)
    limits = torch.iinfo(WIDTHS[dtype])
    made = {
        name: torch.randint(limits.min, limits.max + 1, shape, generator=generator).to(WIDTHS[dtype]).view(dtype)
        for name, shape in SHAPES.items()
    }
    edges = torch.tensor([0, 1, -1, limits.min, limits.max, limits.min + 1]).to(WIDTHS[dtype])
    return made | {"model.norm.weight": edges.roll(seed).view(dtype)}


def save(folder: Path, tensors: Tensors) -> Path:
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "model.safetensors", {"format": "pt", "note": "kept"})
    return folder


def bits(tensors: Tensors) -> dict[str, tuple[object, ...]]:
    return {n: (t.dtype, tuple(t.shape), t.reshape(-1).view(torch.uint8).tolist()) for n, t in tensors.items()}


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "sftlens.json"}


def assert_round_trip(base: Path, finetuned: Path, place: Path) -> Path:
    """Pack and unpack, and compare everything; return the delta."""
    deltas.pack(base, finetuned, place / "delta")
    assert not list((place / "delta").glob("*.safetensors"))
    packed, plain = open_tensors(place / "delta"), open_tensors(finetuned)
    assert packed.names == plain.names
    assert bits(dict(packed)) == bits(dict(plain))
    assert [packed.dtype(n) for n in plain.names] == [plain.dtype(n) for n in plain.names]
    assert identity(place / "delta") == identity(finetuned)
    deltas.unpack(place / "delta", place / "again")
    assert files_of(place / "again") == files_of(finetuned)
    return place / "delta"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `base` and `ft`, half of whose elements moved a little, and `delta`, packed from them."""
    folder = tmp_path_factory.mktemp("models")
    generator = torch.Generator().manual_seed(0)
    for name in ("base", "ft"):
        tiny_model(folder / name, dtype=torch.bfloat16)
    path = folder / "ft" / "model.safetensors"
    moved = {
        name: t + (t * 0.01 * (torch.rand(t.shape, generator=generator) < 0.5)).to(t.dtype)
        for name, t in load_file(path).items()
    }
    save_file(moved, path, {"format": "pt"})
    deltas.pack(folder / "base", folder / "ft", folder / "delta")
    return folder


@pytest.fixture
def copied(models: Path, tmp_path: Path) -> Path:
    """The same, to be spoilt."""
    shutil.copytree(models, tmp_path / "models")
    return tmp_path / "models"


@pytest.mark.parametrize("dtype", WIDTHS)
def test_any_bit_pattern_comes_back(dtype: torch.dtype, tmp_path: Path) -> None:
    base, finetuned = (save(tmp_path / str(seed), any_bits(seed, dtype)) for seed in (1, 2))
    assert_round_trip(base, finetuned, tmp_path)


def test_what_the_base_does_not_have_is_stored_whole(tmp_path: Path) -> None:
    base = {"a": torch.randn(3, 4), "b": torch.randn(7), "c": torch.arange(5), "empty": torch.empty(0, 3)}
    finetuned = {**base, "a": torch.randn(4, 3), "new": torch.randn(2, 2).half(), "scalar": torch.tensor(2.5)}
    finetuned |= {"c": torch.arange(5) + 2**40, "flags": torch.tensor([True, False])}
    assert_round_trip(save(tmp_path / "base", base), save(tmp_path / "ft", finetuned), tmp_path)


@pytest.mark.parametrize(("tied", "base_tied"), [(False, False), (True, True), (True, False)])
def test_files_of_a_sharded_or_tied_model_come_back(tied: bool, base_tied: bool, tmp_path: Path) -> None:
    tiny_model(tmp_path / "base", tied=base_tied)
    tiny_model(tmp_path / "ft", tied=tied, seed=1, shard_size="20KB")
    assert len(list((tmp_path / "ft").glob("*.safetensors"))) > 1
    delta = assert_round_trip(tmp_path / "base", tmp_path / "ft", tmp_path)
    model, wanted = load_model(delta), load_model(tmp_path / "ft")
    assert bits(model.state_dict()) == bits(wanted.state_dict())
    assert load_tokenizer(delta)("Ada")["input_ids"] == load_tokenizer(tmp_path / "ft")("Ada")["input_ids"]
    assert model.generation_config == wanted.generation_config


def test_pieces_of_a_large_tensor_fit_together(tmp_path: Path) -> None:
    base = {"w": torch.randn(700, 800).bfloat16()}
    moved = {"w": (base["w"].float() + 1e-3 * torch.randn(700, 800)).bfloat16()}
    assert_round_trip(save(tmp_path / "base", base), save(tmp_path / "ft", moved), tmp_path)


def test_the_difference_is_that_from_the_base_as_it_was_trained(tmp_path: Path) -> None:
    """A base in fp32, trained in bf16: elements that training left alone take no room."""
    base = {"w": torch.randn(300, 300), "special": torch.tensor([torch.nan, torch.inf, -torch.inf, 1e-45])}
    cast = {name: tensor.bfloat16() for name, tensor in base.items()}
    delta = assert_round_trip(save(tmp_path / "base", base), save(tmp_path / "ft", cast), tmp_path)
    assert (delta / "delta.bin").stat().st_size < 300 * 300 * 2 / 50


def test_a_delta_is_smaller_than_the_checkpoint(models: Path) -> None:
    assert 2 * (models / "delta" / "delta.bin").stat().st_size < (models / "ft" / "model.safetensors").stat().st_size


def test_a_delta_and_its_base_may_move_together(models: Path, copied: Path, tmp_path: Path) -> None:
    copied.rename(tmp_path / "elsewhere")
    assert bits(dict(open_tensors(tmp_path / "elsewhere" / "delta"))) == bits(dict(open_tensors(models / "ft")))
    assert read_json(models / "delta" / "delta.json")["base"]["path"] == "../base"


def test_a_base_with_one_other_element_is_refused(copied: Path) -> None:
    weights = load_file(copied / "base" / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    weights[name][3, 5] += 1
    save_file(weights, copied / "base" / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        ModelError, match=r"base/model.safetensors: tensor 'model.layers.1.mlp.up_proj.weight'.*put that"
    ):
        load_model(copied / "delta")


def test_another_base_is_refused(copied: Path, tmp_path: Path) -> None:
    tiny_model(tmp_path / "other", seed=3, dtype=torch.bfloat16)
    refusal = refused("delta.py", "unpack", copied / "delta", "--base", tmp_path / "other", "--out", tmp_path / "out")
    assert "other/model.safetensors: tensor" in refusal and "put that base model back" in refusal
    save(tmp_path / "smaller", {"model.norm.weight": torch.ones(3)})
    refusal = refused("delta.py", "unpack", copied / "delta", "--base", tmp_path / "smaller", "--out", tmp_path / "out")
    assert "smaller: tensor" in refusal
    assert not list(tmp_path.glob("*out*"))
    shutil.rmtree(copied / "base")
    with pytest.raises(ModelError, match=r"key 'base.path' names .*base, which does not exist; restore"):
        open_tensors(copied / "delta")


def test_a_damaged_delta_is_refused(copied: Path) -> None:
    data = copied / "delta" / "delta.bin"
    whole = data.read_bytes()
    data.write_bytes(whole[:-1])
    with pytest.raises(ModelError, match=r"delta.bin: has \d+ bytes of \d+; it is truncated"):
        load_model(copied / "delta")
    with pytest.raises(ModelError, match="truncated"):
        identity(copied / "delta")
    record = read_json(copied / "delta" / "delta.json")
    data.write_bytes(whole)
    forged = copy.deepcopy(record)
    forged["files"]["model.safetensors"]["sha256"] = describe(copied / "base")["model.safetensors"]["sha256"]
    write_json(copied / "delta" / "delta.json", forged)
    with pytest.raises(ModelError, match=r"key 'files.model.safetensors.sha256' is another file's"):
        identity(copied / "delta")
    write_json(copied / "delta" / "delta.json", record)
    assert identity(copied / "delta") == identity(copied / "ft")
    for place in range(7, len(whole), len(whole) // 20):
        data.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(ModelError, match=r"delta.bin: .* is damaged; copy the file again"):
            deltas.unpack(copied / "delta", copied / "out")
    assert not list(copied.glob("*out*"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda record: record.pop("tensors"), "key 'tensors' is missing"),
        (lambda record: record.update(schema=2), "key 'schema' is not 1"),
        (
            lambda record: record["tensors"]["lm_head.weight"].pop("offset"),
            "key 'tensors.lm_head.weight.offset' is",
        ),
        (lambda record: record["tensors"]["lm_head.weight"].update(offset=-1), "'tensors.lm_head.weight.offset' is -1"),
        (lambda record: record["tensors"]["lm_head.weight"].update(dtype="F4"), "'tensors.lm_head.weight.dtype' is no"),
        (
            lambda record: record["tensors"]["lm_head.weight"].update(shape=[1 << 40, 1 << 20], base_sha256=None),
            "does not fit",
        ),
        (lambda record: record.update(tensors={}), "the header of model.safetensors is damaged"),
        (lambda record: record.update(files=["a"]), "key 'files' is ['a']"),
        (lambda record: record.update(base="x"), "key 'base' is 'x'"),
        (lambda record: record["base"].update(path="../delta"), "key 'base.path' leads back to this delta"),
    ],
)
def test_a_damaged_record_is_refused(copied: Path, spoil: object, message: str) -> None:
    record = read_json(copied / "delta" / "delta.json")
    spoil(record)  # type: ignore[operator]
    write_json(copied / "delta" / "delta.json", record)
    assert message in refused("delta.py", "unpack", copied / "delta", "--out", copied / "out")
    assert not (copied / "out").exists()


def test_what_cannot_be_packed_is_refused(models: Path, tmp_path: Path) -> None:
    save(tmp_path / "strange", {"x": torch.ones(3)})
    packing = ["delta.py", "pack", models / "base"]
    assert "has no tensor in common" in refused(*packing, tmp_path / "strange", "--out", tmp_path / "out")
    save(tmp_path / "complex", {"lm_head.weight": torch.ones(3, dtype=torch.complex64)})
    assert "keep this model as a checkpoint" in refused(*packing, tmp_path / "complex", "--out", tmp_path / "out")
    assert "is inside of an input" in refused(*packing, models / "ft", "--out", models / "ft" / "out")
    assert "delta.json is missing" in refused("delta.py", "unpack", models / "ft", "--out", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["complex", "strange"]


def test_the_script_packs_and_unpacks(models: Path, tmp_path: Path) -> None:
    ok("delta.py", "pack", models / "base", models / "ft", "--out", tmp_path / "delta")
    assert files_of(tmp_path / "delta").keys() == files_of(models / "delta").keys()
    ok("delta.py", "unpack", tmp_path / "delta", "--out", tmp_path / "out")
    assert files_of(tmp_path / "out") == files_of(models / "ft")
    # The same command again finds its own result; another one does not.
    pack, unpack = ["delta.py", "pack", models / "base"], ["delta.py", "unpack", tmp_path / "delta"]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    ok(*pack, models / "ft", "--out", tmp_path / "delta")
    ok(*unpack, "--out", tmp_path / "out")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    tiny_model(tmp_path / "other", seed=9, dtype=torch.bfloat16)
    assert "holds files that were not made here" in refused(*pack, tmp_path / "other", "--out", tmp_path / "delta")


def test_a_delta_is_the_base_of_another_delta(models: Path, tmp_path: Path) -> None:
    tiny_model(tmp_path / "further", seed=5, dtype=torch.bfloat16)
    assert_round_trip(models / "delta", tmp_path / "further", tmp_path)
