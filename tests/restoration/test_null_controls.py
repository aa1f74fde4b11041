"""The null controls of restoration against flat vectors: other values in the very elements that `relative` restores."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from demo_study import demo
from restoration_models import SETTINGS, cuts_of, drawn, gaussian, pair_of
from script_calls import ok, refused
from sftlens.config.stages.restoration import RestorationSettings
from sftlens.dag import contrasts
from sftlens.dag.cells import distinct
from sftlens.restoration import apply, criteria, methods
from sftlens.restoration.apply import Method, Restorer
from sftlens.restoration.cuts import NOTHING, Cut
from sftlens.restoration.pairs import Pair
from tiny import tiny_model

NULLS = ("sign-flip", "equal-size", "deletion")


def build(pair: Pair, name: str, ratio: float, settings: RestorationSettings = SETTINGS) -> Method:
    """Return what sftlens restore makes of a choice."""
    method, criterion = methods.chosen(name)
    cut = cuts_of(pair, criterion.name, [ratio])[0] if method.ranked else Cut(ratio, 0, NOTHING)
    restorer = Restorer(pair, criteria.make(criterion.name, settings), cut)
    return method.make(restorer, partial(apply.reverted, restorer, settings.epsilon), settings)


def flat(pair: Pair, method: Method | None = None) -> torch.Tensor:
    """Return the region of the fine-tuned model, or of what a method makes of it, as one vector."""
    tensors = {name: pair.finetuned.get(name) for name in pair.names}
    return torch.cat([(method(n, t) if method else t).flatten() for n, t in tensors.items()])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("ratio", [30, 100])
def test_the_same_elements_get_other_values_and_no_others_change(
    tmp_path: Path, dtype: torch.dtype, ratio: float
) -> None:
    pair = pair_of(tmp_path, *gaussian(3, dtype))
    s, restored = flat(pair), flat(pair, build(pair, "relative", ratio))
    p = torch.cat([pair.base.get(name).flatten() for name in pair.names])
    moved = restored != s  # selected, and not left alone by training
    assert 10 < moved.sum() < len(s)

    flipped = flat(pair, build(pair, "sign-flip", ratio))
    turned = 2 * p.double() - s.double()
    assert torch.equal(flipped[moved], turned.to(dtype)[moved]) and torch.equal(flipped[~moved], s[~moved])

    equal = flat(pair, build(pair, "equal-size", ratio))
    assert torch.equal(equal[~moved], s[~moved])
    assert bool(((equal == s) | (equal == flipped))[moved].all())
    assert 0.3 < (equal == s)[moved].double().mean() < 0.7
    other = flat(pair, build(pair, "equal-size", ratio, RestorationSettings(seed=1)))
    assert not torch.equal(other, equal)

    deleted = flat(pair, build(pair, "deletion", ratio))
    selected = deleted == 0
    assert selected.sum() >= int(len(s) * ratio / 100) and bool(selected[moved].all())
    assert torch.equal(deleted[~selected], s[~selected])


@pytest.mark.parametrize("name", NULLS)
def test_pieces_and_awkward_values_change_nothing(tmp_path: Path, name: str) -> None:
    models = drawn(5, torch.bfloat16)
    whole, cut = (pair_of(tmp_path / str(piece), *models, piece=piece) for piece in (10_000, 3))
    found, again = (flat(pair, build(pair, name, 40)) for pair in (whole, cut))
    assert torch.equal(found.view(torch.int16), again.view(torch.int16)) and bool(found.isfinite().all())


def test_a_turned_change_keeps_within_the_type_and_an_unchanged_element_its_bits(tmp_path: Path) -> None:
    name = "model.layers.0.self_attn.q_proj.weight"
    base, tuned = torch.tensor([60000.0, -0.0, 1.0]).half(), torch.tensor([-60000.0, -0.0, 1.5]).half()
    pair = pair_of(tmp_path, {name: base}, {name: tuned})
    found = flat(pair, build(pair, "sign-flip", 100))
    assert found.tolist() == [65504.0, 0.0, 0.5] and bool(found[1].signbit())


def test_turning_a_change_round_reverts_nothing_of_its_size(tmp_path: Path) -> None:
    pair = pair_of(tmp_path, *gaussian(3, torch.float32))
    for name in ("sign-flip", "equal-size"):
        found = apply.reverted(build(pair, name, 40), SETTINGS.epsilon)
        assert found.sum_d2 == pytest.approx(0, abs=1e-9) and found.elements > 0.05


def test_redrawn_masks_are_exact_and_differ_between_ratios_models_and_seeds(tmp_path: Path) -> None:
    base, tuned = gaussian(3, torch.float32)
    tuned = {name: tensor + 0.01 for name, tensor in tuned.items()}  # every element changes
    pair = pair_of(tmp_path / "a", base, tuned)
    other = pair_of(tmp_path / "b", base, {name: tensor + 0.01 for name, tensor in tuned.items()})

    def mask(of: Pair, name: str, ratio: float, seed: int = 0) -> np.ndarray:
        return (flat(of, build(of, name, ratio, RestorationSettings(seed=seed))) != flat(of)).numpy()

    half = mask(pair, "redrawn", 50)
    assert half.sum() == len(half) // 2 and np.array_equal(half, mask(pair, "redrawn", 50))
    assert mask(pair, "redrawn", 100).all() and not mask(pair, "redrawn", 0).any()
    for another in (mask(other, "redrawn", 50), mask(pair, "redrawn", 50, seed=1), mask(pair, "random", 50)):
        assert another.sum() == half.sum() and 0.3 < (another & half).sum() / half.sum() < 0.7
    # The sets of `random` are nested and the same in all models; redrawn ones are neither.
    assert mask(pair, "random", 50)[mask(other, "random", 20)].all()
    assert not half[mask(pair, "redrawn", 20)].all()


def test_null_controls_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, seed in (("base", 0), ("ft", 1)):
        tiny_model(tmp_path / name, seed=seed)
    pair = [tmp_path / "base", tmp_path / "ft"]
    for name in (*NULLS, "redrawn"):
        ok("restore.py", *pair, "--criterion", name, "--ratio", 25, "--out", tmp_path / name)
        said = capsys.readouterr().err
        assert ("3,840 of 15,360 parameters re" in said) and (f"replaced ({name})" in said) == (name != "redrawn")
        done = json.loads((tmp_path / name / "summary.json").read_text())["method"]
        assert done["name"] == name and done["ratio"] == 25
        card = (tmp_path / name / "README.md").read_text()
        assert "25 %" in card and ("null control" in card) == (name != "redrawn")
    tuned, deleted = (load_file(folder / "model.safetensors") for folder in (pair[1], tmp_path / "deletion"))
    zeros = sum(int(((deleted[name] == 0) & (tuned[name] != 0)).sum()) for name in tuned)
    assert zeros == 3840
    levels = ["--level-map", tmp_path / "l.safetensors"]
    assert "restores no nested sets of parameters; choose one of relative" in refused(
        "restore.py", *pair, "--criterion", "redrawn", "--ratio", 5, *levels
    )


def test_in_a_study_they_stand_against_restoration_of_the_same_elements() -> None:
    names = ["relative", "random", *NULLS, "redrawn"]
    axes = {"train_sets": ["D2"], "scales": [60], "seeds": [0], "ratios": [20], "criteria": names}
    found = contrasts.contrasts(contrasts.conditions(distinct(demo(experiments={"restoration": axes}))))
    against = [c.against for c in found if c.condition.criterion == "relative"]
    assert against[0] == "k = 0" and len(against) == 4 and all("the same elements" in words for words in against[1:])
