"""Every strategy equals a plain loop that does the same, at every ZeRO stage; without effect it equals `full`."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import process_groups
from sftlens.config.stages.restoration import RestorationSettings
from sftlens.models.delta.reader import open_tensors
from sftlens.restoration import criteria, topk
from sftlens.restoration.apply import Restorer
from sftlens.restoration.pairs import Pair
from sftlens.training import deepspeed_engine
from strategy_runs import RECIPE, distance, nll, plain, same, trained
from tiny import tiny_model

STAGES = (0, 1, 2, 3)
EXACT = 1e-5


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "model"
    tiny_model(folder)
    return folder


@pytest.fixture(scope="module")
def pilot(base, tmp_path_factory) -> Path:
    """A fully fine-tuned model; its folder also holds what full fine-tuning must give."""
    folder = tmp_path_factory.mktemp("pilot") / "model"
    trained(base, folder, "full", zero_stage=1)
    return folder


NOTHING = {"l2-sp": {"pull": 0}, "kl": {"weight": 0}, "self-distil": {"weight": 0}, "masked": {"ratio": 0}}


@pytest.mark.parametrize("name", NOTHING)
def test_without_effect_it_gives_the_bytes_of_full_fine_tuning(base, pilot, tmp_path, name):
    needs = pilot if name in ("masked", "self-distil") else None
    made = trained(base, tmp_path / "out", name, NOTHING[name], needs, zero_stage=1)
    assert same(made, load_file(pilot / "model.safetensors"))


def divergence(logits, targets, reference):
    p, q = reference.log_softmax(-1), logits.log_softmax(-1)
    return nll(logits, targets, reference) + 0.7 * (p.exp() * (p - q)).sum()


@pytest.mark.parametrize("stage", STAGES)
def test_kl_is_that_to_the_base_and_self_distil_that_to_the_pilot(base, pilot, tmp_path, stage):
    how = {"zero_stage": stage, "micro_batch_size": 3}
    made = trained(base, tmp_path / "kl", "kl", {"weight": 0.7}, **how)
    assert distance(made, plain(base, divergence)) < EXACT
    distilled = trained(base, tmp_path / "distil", "self-distil", {"weight": 0.7}, pilot, **how)
    assert distance(distilled, plain(base, divergence, reference=pilot)) < EXACT
    assert distance(made, distilled) > 10 * EXACT


@pytest.mark.parametrize("stage", STAGES)
def test_l2_sp_goes_back_a_share_of_the_way_before_each_step(base, tmp_path, stage):
    original = load_file(base / "model.safetensors")

    def pull(parameters, rate):
        with torch.no_grad():
            for name, weight in parameters.items():
                weight -= rate / RECIPE["learning_rate"] * 0.3 * (weight - original[name])

    made = trained(base, tmp_path / "out", "l2-sp", {"pull": 0.3}, zero_stage=stage)
    assert distance(made, expected := plain(base, before_step=pull)) < EXACT
    assert distance(plain(base), expected) > 10 * EXACT


def test_dft_weights_a_tokens_loss_by_its_probability(base, tmp_path):
    def loss(logits, targets, reference):
        chosen = logits.log_softmax(-1).gather(1, targets[:, None])
        return -(chosen.exp().detach() * chosen).sum()

    made = trained(base, tmp_path / "out", "dft", zero_stage=1)
    assert distance(made, expected := plain(base, loss)) < EXACT
    assert distance(plain(base), expected) > 10 * EXACT


@pytest.mark.parametrize("stage", STAGES)
def test_masked_leaves_alone_what_restoring_the_pilot_would_set_back(base, pilot, tmp_path, stage):
    pair = Pair(open_tensors(base), open_tensors(pilot), "transformer")
    criterion = criteria.make("relative", RestorationSettings())
    [cut] = topk.select(pair, criterion, [40])
    restored, tuned = dict(Restorer(pair, criterion, cut)), load_file(pilot / "model.safetensors")
    original = load_file(base / "model.safetensors")
    kept = {name: (restored[name] != tuned[name]) for name in pair.names}

    def mask(parameters, rate):
        for name, where in kept.items():
            parameters[name].grad[where] = 0

    made = trained(base, tmp_path / "out", "masked", {"ratio": 40}, pilot, zero_stage=stage)
    assert distance(made, plain(base, before_step=mask)) < EXACT
    assert all(torch.equal(made[name][where], original[name][where]) for name, where in kept.items())
    random = trained(base, tmp_path / "random", "masked-random", {"ratio": 40}, zero_stage=stage)
    unmoved = [sum(int((w[n] == original[n]).sum()) for n in pair.names) for w in (made, random)]
    assert all(cut.elements <= count < cut.elements + 20 for count in unmoved) and not same(made, random)


@pytest.mark.parametrize("stage", STAGES)
def test_freeze_trains_everything_else(base, tmp_path, stage):
    def frozen(model):
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("layers.1" not in name or "norm" in name)

    made = trained(base, tmp_path / "out", "freeze", {"region": "layers1-1"}, zero_stage=stage)
    assert distance(made, plain(base, before_training=frozen)) < EXACT
    original = load_file(base / "model.safetensors")
    assert {n for n in made if torch.equal(made[n], original[n])} == {
        n for n in made if "layers.1." in n and "norm" not in n
    }


def _two(rank: int, base: Path, pilot: Path, out: Path) -> None:
    with deepspeed_engine.process_group():  # joined once for all trainings
        for stage in (1, 3):
            for name, needs in (("kl", None), ("self-distil", pilot), ("masked", pilot), ("l2-sp", None)):
                trained(base, out / f"{name}{stage}", name, {}, needs, zero_stage=stage, micro_batch_size=3)


def test_two_processes_train_the_same(base, pilot, tmp_path):
    assert process_groups.run(_two, 2, base, pilot, tmp_path) == [0, 0]
    for name, needs in (("kl", None), ("self-distil", pilot), ("masked", pilot), ("l2-sp", None)):
        one = trained(base, tmp_path / name, name, {}, needs, zero_stage=1)
        for stage in (1, 3):
            assert distance(one, load_file(tmp_path / f"{name}{stage}/model.safetensors")) < EXACT, (name, stage)
