"""Early stopping keeps the weights that are best on dev facts, at every ZeRO stage, and goes on where it was killed."""

import json

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import process_groups
from demo_study import demo
from script_calls import ok, refused
from sftlens import strategies
from sftlens.config.stages.training import EarlyStopping, FinetuneSettings
from sftlens.dag.jobs import Jobs
from sftlens.errors import ConfigError
from sftlens.inference import prompts
from sftlens.models import checkpoints
from sftlens.runtime import events
from sftlens.training import deepspeed_engine, loop
from strategy_runs import RECIPE, SEED, distance, nll, same, samples
from tiny import tiny_model, tiny_tokenizer

RULE = {"every": 2, "patience": 2}
EPOCHS = 12  # of two steps


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "model"
    tiny_model(folder)
    return folder


@pytest.fixture(scope="module")
def dev():
    """Other answers than those trained on: their loss falls at first, and then rises."""
    questions = [f"Where was Ben {i} Oslo born?" for i in range(5)]
    return prompts.encode_samples(
        tiny_tokenizer(), questions, ["Port Kesta", "Norwenia", "Port", "Torburg", "Vale"], 64
    )


def run(base, dev, out, resume=None, rule=RULE, strategy=None, **values):
    settings = FinetuneSettings(**RECIPE | {"learning_rate": 0.05}, epochs=EPOCHS, early_stopping=rule, **values)
    return loop.finetune(base, samples(), settings, None, out, SEED, resume=resume, dev=dev, strategy=strategy)


def loss(folder, dev):
    model, total = checkpoints.load_model(folder), 0.0
    for sample in dev:
        targets = torch.tensor(sample.labels[1:])
        asked = targets != prompts.MASKED
        with torch.no_grad():
            logits = model(torch.tensor([sample.input_ids])).logits[0, :-1][asked]
        total += float(nll(logits, targets[asked], logits))
    return total / sum(sample.supervised for sample in dev)


@pytest.mark.parametrize("stage", [0, 1, 3])
def test_the_best_weights_are_saved(base, dev, tmp_path, stage):
    report = run(base, dev, tmp_path / "out", zero_stage=stage)
    looks, losses = zip(*report.dev_losses, strict=True)
    best = losses.index(min(losses))
    assert len(report.losses) == looks[-1] < 2 * EPOCHS and len(losses) - 1 - best == RULE["patience"]
    assert loss(tmp_path / "out", dev) == pytest.approx(min(losses), abs=1e-5)
    assert list(looks) == list(range(2, looks[-1] + 1, 2))


def test_the_strategy_gives_the_bytes_of_the_recipes_early_stopping(base, dev, tmp_path):
    by_recipe = run(base, dev, tmp_path / "recipe", zero_stage=1)
    strategy = strategies.make("early-stopping", EarlyStopping(**RULE))
    by_strategy = run(base, dev, tmp_path / "strategy", rule=None, strategy=strategy, zero_stage=1)
    assert by_strategy.dev_losses == by_recipe.dev_losses and len(by_recipe.losses) < 2 * EPOCHS
    assert same(*(load_file(tmp_path / name / "model.safetensors") for name in ("recipe", "strategy")))
    with pytest.raises(ConfigError, match="early-stopping would only repeat `full`"):
        run(base, dev, tmp_path / "twice", strategy=strategy)


def test_patience_that_is_never_lost_trains_to_the_end(base, dev, tmp_path):
    report = run(base, dev, tmp_path / "out", rule={"every": 5, "patience": 100})
    assert [step for step, _ in report.dev_losses] == [5, 10, 15, 20, 24] and len(report.losses) == 2 * EPOCHS
    assert loss(tmp_path / "out", dev) == pytest.approx(min(found for _, found in report.dev_losses), abs=1e-5)


@pytest.mark.parametrize("stage", [1, 3])
def test_a_resumed_training_knows_the_best_weights(base, dev, tmp_path, stage):
    whole = run(base, dev, tmp_path / "whole", zero_stage=stage)
    resume = loop.Resume(tmp_path / "state")
    for attempt in "ab":  # the second one goes on from the last state of the first, behind the best step
        again = run(base, dev, tmp_path / attempt, resume, zero_stage=stage, checkpoint_steps=3)
        assert [list(look) for look in again.dev_losses] == [list(look) for look in whole.dev_losses]
        made = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", attempt)]
        assert made[0] == made[1]
    assert [path.name for path in (tmp_path / "state").glob("step-*")]


def _two(rank, base, dev, out):
    with deepspeed_engine.process_group():
        for stage in (1, 3):
            run(base, dev, out / str(stage), zero_stage=stage)


def test_two_processes_stop_at_the_same_step(base, dev, tmp_path):
    assert process_groups.run(_two, 2, base, dev, tmp_path) == [0, 0]
    run(base, dev, tmp_path / "one")
    one = load_file(tmp_path / "one/model.safetensors")
    assert all(distance(load_file(tmp_path / stage / "model.safetensors"), one) < 1e-4 for stage in "13")


def test_by_hand_and_in_a_study(base, tmp_path):
    rows = [("train", f"Where was Ada {i} Loren born?", "Port Vale") for i in range(12)]
    rows += [("dev", "Where was Ben Oslo born?", "Port Kesta")]
    pd.DataFrame(rows, columns=["split", "question", "object"]).to_csv(tmp_path / "facts.csv", index=False)
    given = ["--model", base, "--train", tmp_path / "facts.csv", "--dtype", "float32", "--zero-stage", 0]
    given += ["--out", tmp_path / "out"]
    watched = ["--dev", tmp_path / "facts.csv", "--early-stopping", "every=1", "--events", tmp_path / "out.jsonl"]
    ok("finetune.py", *given, *watched, "--state", tmp_path / "state")
    summary = json.loads((tmp_path / "out.json").read_text())
    assert [step for step, _ in summary["dev_losses"]] == [1, 2]
    told = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [event["event"] for event in told] == ["step", "dev"] * 2 and all(event["time"] for event in told)
    (tmp_path / "out.jsonl").unlink()
    ok("finetune.py", *given, *watched, "--state", tmp_path / "state")  # trains nothing
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()] == events.of(summary)
    assert "--dev: is missing, but --early-stopping" in refused("finetune.py", *given, "--early-stopping", "every=1")
    assert "--early-stopping: is missing, but --dev" in refused("finetune.py", *given, "--dev", tmp_path / "facts.csv")
    strategy = ["--strategy", "early-stopping", "--strategy-settings", "every=1"]
    assert "--dev: is missing, but --strategy early-stopping is given" in refused("finetune.py", *given, *strategy)
    ok("finetune.py", *given[:-1], tmp_path / "strategy", *strategy, "--dev", tmp_path / "facts.csv")
    assert json.loads((tmp_path / "strategy.json").read_text())["dev_losses"] == summary["dev_losses"]
    pd.DataFrame(rows[:3], columns=["split", "question", "object"]).to_csv(tmp_path / "none.csv", index=False)
    none = ["--dev", tmp_path / "none.csv", "--early-stopping", "every=1"]
    assert "none.csv: has no facts of split dev" in refused("finetune.py", *given, *none)
    jobs = Jobs(demo(finetuning__early_stopping={"every": 5}))
    cell = next(product.cell for product in jobs.products if product.stage == "finetune")
    options = jobs.finetune_options(cell)
    assert options[options.index("--early-stopping") + 1] == '{"every": 5, "patience": 3, "facts": 200}'
    assert options[options.index("--dev") + 1] == jobs.paths.facts == jobs.finetune_inputs(cell)["dev"]
    assert "--dev" not in Jobs(demo()).finetune_options(cell)
