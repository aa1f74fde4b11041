"""A training that goes on from a saved state ends with the bytes of one that was never stopped, by every strategy."""

import pytest
from safetensors.torch import load_file

from sftlens import strategies
from sftlens.config.stages.training import FinetuneSettings
from sftlens.training import loop
from strategy_runs import RECIPE, SEED, same, samples, trained
from tiny import tiny_model

OWN = {"l2-sp": {"pull": 0.1}, "kl": {"weight": 5}, "masked-random": {}, "lora": {}, "freeze": {}}


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("stage", [0, 1, 3])
def test_a_resumed_training_ends_with_the_same_bytes(tmp_path, name, stage):
    tiny_model(tmp_path / "base")
    expected = trained(tmp_path / "base", tmp_path / "whole", name, OWN[name], zero_stage=stage)
    settings = FinetuneSettings(**RECIPE, zero_stage=stage, checkpoint_steps=1)
    own = strategies.STRATEGIES.get(name).settings_class(**OWN[name])
    steps = []
    for attempt in range(2):  # the second one goes on from the state after the first of two steps
        strategy = strategies.make(name, own, {"model": tmp_path / "base"}, SEED)
        how = (tmp_path / str(attempt), SEED, lambda n, **_: steps.append(n), loop.Resume(tmp_path / "state"))
        loop.finetune(tmp_path / "base", samples(), settings, None, *how, strategy=strategy)
    assert steps == [0, 1, 1, 1, 1]
    for attempt in range(2):
        assert same(load_file(tmp_path / str(attempt) / "model.safetensors"), expected)
