"""A restored model as a LoRA adapter of its base: what peft makes of it, and the error that is stated."""

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from sftlens.config.stages.restoration import RestorationSettings
from sftlens.errors import ModelError
from sftlens.models import adapters
from sftlens.models.checkpoints import load_model
from sftlens.models.safetensors_reader import TensorFolder
from sftlens.restoration import cards, criteria, low_rank, topk
from sftlens.restoration.apply import Restorer
from sftlens.restoration.low_rank import LowRank
from sftlens.restoration.pairs import Pair
from tiny import tiny_model, tiny_tokenizer

UP, NORM, EMBED = (
    "model.layers.1.mlp.up_proj.weight",
    "model.layers.0.input_layernorm.weight",
    "model.embed_tokens.weight",
)


@pytest.fixture(params=[False, True], ids=["untied", "tied"])
def tied(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def restorer(tmp_path: Path, tied: bool) -> Restorer:
    """Half of the changes of a fine-tuned model restored: every tensor has changed, one projection by much."""
    for name in ("base", "tuned"):
        tiny_model(tmp_path / name, tokenizer=tiny_tokenizer(), tied=tied)
    generator = torch.Generator().manual_seed(2)
    tensors = load_file(tmp_path / "base" / "model.safetensors")
    for name, tensor in tensors.items():
        size = 0.3 if name == UP else 0.01
        tensors[name] = tensor + size * torch.randn(tensor.shape, generator=generator)
    save_file(tensors, tmp_path / "tuned" / "model.safetensors", {"format": "pt"})
    pair = Pair(TensorFolder(tmp_path / "base"), TensorFolder(tmp_path / "tuned"), "transformer")
    ranking = criteria.make("absolute", RestorationSettings())
    return Restorer(pair, ranking, topk.select(pair, ranking, [50])[0])


def test_the_error_is_that_of_the_singular_values_and_what_is_left_out(restorer: Restorer, tied: bool) -> None:
    base = load_file(restorer.pair.base.folder / "model.safetensors")
    changed = dict(restorer)
    for rank in (1, 3):
        made = LowRank(restorer, rank)
        wrong, total = {}, 0.0
        for name, tensor in changed.items():
            difference = (tensor - base[name]).double()
            total += float(difference.square().sum())
            if "norm" not in name and (not tied or "proj" in name):
                wrong[name] = float(torch.linalg.svdvals(difference)[rank:].square().sum())
            elif "norm" not in name:
                wrong[name] = float(difference.square().sum())
        assert made.error.share == pytest.approx(sum(wrong.values()) / total, rel=1e-4)
        assert made.error.worst == max(wrong, key=lambda name: wrong[name])
        assert made.error.left_out == ((EMBED,) if tied else ())


def test_peft_and_the_merge_make_the_model_that_was_measured(restorer: Restorer, tmp_path: Path) -> None:
    made = LowRank(restorer, 4)
    made.save(tmp_path / "adapter", "org/base", cards.head(restorer.pair.base.folder, "peft") + "text")
    model = load_model(restorer.pair.base.folder, device="cpu")
    merged = PeftModel.from_pretrained(model, str(tmp_path / "adapter")).merge_and_unload()
    adapters.merge(restorer.pair.base.folder, tmp_path / "adapter", tmp_path / "merged")
    ours = load_model(tmp_path / "merged", device="cpu").state_dict()
    for name, tensor in merged.state_dict().items():
        measured = made(name, restorer.pair.finetuned.get(name)) if name in restorer.pair.finetuned.names else tensor
        torch.testing.assert_close(tensor, measured, rtol=0, atol=1e-6)
        assert torch.equal(ours[name], tensor), name
    assert not torch.equal(merged.state_dict()[UP], load_file(restorer.pair.base.folder / "model.safetensors")[UP])


def test_a_full_rank_leaves_out_nothing_of_what_it_holds(restorer: Restorer, tied: bool) -> None:
    made = LowRank(restorer, 64)
    tensor = dict(restorer)[UP]
    torch.testing.assert_close(made(UP, tensor), tensor, rtol=0, atol=1e-6)
    assert torch.equal(made(NORM, tensor[:1]), dict(restorer)[NORM])
    whole = restorer.pair.finetuned.get(EMBED)
    torch.testing.assert_close(made(EMBED, whole), restorer.pair.base.get(EMBED) if tied else whole, rtol=0, atol=1e-6)


def test_a_grown_vocabulary_has_no_adapter(restorer: Restorer) -> None:
    folder = restorer.pair.finetuned.folder
    tensors = load_file(folder / "model.safetensors")
    grown = torch.cat([tensors[EMBED], tensors[EMBED][:1]])
    save_file({**tensors, EMBED: grown}, folder / "model.safetensors", {"format": "pt"})
    pair = Pair(restorer.pair.base, TensorFolder(folder), "transformer")
    with pytest.raises(ModelError, match=r"'model.embed_tokens.weight' has another shape .*--as model or --as delta"):
        LowRank(Restorer(pair, restorer.criterion, restorer.cut), 4)


def test_large_matrices_are_decomposed_almost_as_well_and_always_alike(
    restorer: Restorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = LowRank(restorer, 2)
    monkeypatch.setattr(low_rank, "EXACT", 0)
    torch.manual_seed(9)
    first, second = LowRank(restorer, 2), LowRank(restorer, 2)
    assert exact.error.share <= first.error.share < 1.01 * exact.error.share
    assert all(
        torch.equal(a, b)
        for name in first.factors
        for a, b in zip(first.factors[name], second.factors[name], strict=True)
    )
    following = torch.rand(1)
    torch.manual_seed(9)
    assert torch.equal(following, torch.rand(1))  # the random numbers of others are left alone
