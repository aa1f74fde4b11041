"""Base and fine-tuned model whose names differ by the wrapper around the decoder are compared all the same."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from other_models import other_model
from restoration_models import SETTINGS, cuts_of, drawn, pair_of
from sftlens.errors import ModelError
from sftlens.models.safetensors_reader import TensorFolder
from sftlens.restoration import criteria, topk
from sftlens.restoration.apply import Restorer
from sftlens.restoration.pairs import Pair

Rename = Callable[[str], str]
WRAPPERS: dict[str, Rename] = {
    "bare model": lambda name: name.removeprefix("model."),
    "multimodal": lambda name: name.replace("model.", "model.language_model.", 1),
    "multimodal, of older versions": lambda name: "language_model." + name,
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("other", ["base", "finetuned"])
@pytest.mark.parametrize("region", ["transformer", "layers1-2"])
def test_the_wrapper_of_either_model_changes_nothing(tmp_path: Path, wrapper: str, other: str, region: str) -> None:
    base, finetuned = drawn(3, torch.bfloat16)
    plain = pair_of(tmp_path / "plain", base, finetuned, region)
    rename = WRAPPERS[wrapper]
    if other == "base":
        base = {rename(name): tensor for name, tensor in base.items()}
    else:
        finetuned = {rename(name): tensor for name, tensor in finetuned.items()}
    pair = pair_of(tmp_path / "wrapped", base, finetuned, region)
    assert pair.names == [name if other == "base" else rename(name) for name in plain.names]
    whole = Pair(pair.base, pair.finetuned, "all")
    assert whole.elements() == sum(tensor.numel() for tensor in base.values())
    ranking = criteria.make("relative", SETTINGS)
    for wanted_cut, cut in zip(cuts_of(plain, "relative", [20.0]), topk.select(pair, ranking, [20.0]), strict=True):
        wanted, found = Restorer(plain, ranking, wanted_cut), Restorer(pair, ranking, cut)
        for name in plain.names:
            own = name if other == "base" else rename(name)
            assert torch.equal(
                torch.cat(list(found.pieces(own, pair.finetuned.get(own)))),
                torch.cat(list(wanted.pieces(name, plain.finetuned.get(name)))),
            )


def test_experts_that_are_stored_otherwise_are_named(tmp_path: Path) -> None:
    model = other_model(tmp_path / "base", "mixtral")
    (tmp_path / "tuned").mkdir()
    save_file(
        {name: tensor.clone() for name, tensor in model.state_dict().items()}, tmp_path / "tuned/model.safetensors"
    )
    assert len(load_file(tmp_path / "tuned/model.safetensors")) < len(load_file(tmp_path / "base/model.safetensors"))
    with pytest.raises(ModelError, match="keeps each expert by itself and the other those of a block in one tensor"):
        Pair(TensorFolder(tmp_path / "base"), TensorFolder(tmp_path / "tuned"), "transformer")
