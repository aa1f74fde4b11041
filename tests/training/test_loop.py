"""Fine-tuning on DeepSpeed equals a plain loop, for every ZeRO stage, number of processes, micro-batch."""

import json
import math
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from repository import ROOT
from sftlens.config.stages.training import FinetuneSettings
from sftlens.data.training_sets import training_order
from sftlens.errors import ModelError, TrainingError
from sftlens.inference import prompts
from sftlens.inference.prompts import MASKED, Sample
from sftlens.models import checkpoints
from sftlens.training import loop
from sftlens.training import step as training_steps
from sftlens.training.deepspeed_engine import Process
from tiny import tiny_model, tiny_tokenizer

TESTS = ROOT / "tests"
SEED = 5
# Large epsilon, clipping out of reach: both Adam and clipping would hide a gradient of the wrong scale.
RECIPE = {"learning_rate": 1e-2, "epsilon": 0.1, "gradient_clipping": 1e3, "dtype": "float32"}
QUESTIONS = [f"Where was Ada {i} Loren born?" for i in range(20)]
ANSWERS = [("Port Vale " * (1 + i % 4)).strip() for i in range(20)]
MATRIX = [(stage, micro) for stage in (0, 1, 2, 3) for micro in (None, 3)]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "model"
    tiny_model(folder)
    return folder


@pytest.fixture(scope="module")
def samples():
    """Twenty samples of unequal lengths: two full batches and a short one of four."""
    return prompts.encode_samples(tiny_tokenizer(), QUESTIONS, ANSWERS, 64)


@pytest.fixture(scope="module")
def plain(base, samples):
    """Weights, losses and gradient norms of a plain PyTorch loop, one sample at a time, no padding."""
    return plain_loop(base, samples, **RECIPE)


def plain_loop(base, samples, learning_rate, epsilon, gradient_clipping, dtype="float32", batch_size=8):
    model = checkpoints.load_model(base, dtype=torch.float32).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, eps=epsilon, weight_decay=0.0)
    order = training_order(len(samples), SEED)
    steps = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    losses, norms = [], []
    for number, step in enumerate(steps):
        optimizer.param_groups[0]["lr"] = learning_rate * (1 + math.cos(math.pi * number / len(steps))) / 2
        total = sum(nll(model, samples[i]) for i in step)
        loss = total / sum(samples[i].supervised for i in step)
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), gradient_clipping)))
        optimizer.step()
        losses.append(float(loss.detach()))
    return {name: p.detach() for name, p in model.named_parameters()}, losses, norms


def nll(model, sample):
    logits = model(torch.tensor([sample.input_ids])).logits[0, :-1]
    return torch.nn.functional.cross_entropy(logits, torch.tensor(sample.labels[1:]), reduction="sum")


def run(base, samples, out, **values):
    settings = FinetuneSettings(**{**RECIPE, **values})
    report = loop.finetune(base, samples, settings, None, out, SEED)
    return asdict(report), load_file(out / "model.safetensors")


def assert_equals_plain(report, weights, plain, tolerance=1e-4):
    expected, losses, norms = plain
    assert report["losses"] == pytest.approx(losses, abs=tolerance)
    assert report["gradient_norms"] in ([], pytest.approx(norms, abs=tolerance * 10))
    assert set(weights) == set(expected)
    assert max((weights[name] - expected[name]).abs().max() for name in expected) < tolerance


@pytest.mark.parametrize(("stage", "micro"), MATRIX)
def test_one_process_equals_a_plain_loop(base, samples, plain, tmp_path, stage, micro):
    report, weights = run(base, samples, tmp_path / "out", zero_stage=stage, micro_batch_size=micro)
    assert_equals_plain(report, weights, plain)


@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_equal_a_plain_loop(base, samples, plain, tmp_path, processes):
    runs = {
        str(tmp_path / f"{stage}-{micro}"): {**RECIPE, "zero_stage": stage, "micro_batch_size": micro}
        for stage, micro in MATRIX
    }
    job = {"model": str(base), "samples": [asdict(s) for s in samples], "seed": SEED, "runs": runs}
    (tmp_path / "job.json").write_text(json.dumps(job))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [*torchrun, TESTS / "finetune_worker.py", tmp_path / "job.json"]
    subprocess.run(command, check=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"})
    for out in runs:
        report = json.loads(Path(f"{out}.json").read_text())
        assert_equals_plain(report, load_file(Path(out) / "model.safetensors"), plain)


def test_threads_are_used_while_training_and_change_no_more_than_rounding(base, samples, plain, tmp_path):
    seen, before = set(), torch.get_num_threads()
    settings = FinetuneSettings(**RECIPE)

    def look(steps, **values):
        seen.add(torch.get_num_threads())

    loop.finetune(base, samples, settings, None, tmp_path / "out", SEED, look, threads=2)
    assert seen == {2} and torch.get_num_threads() == before
    weights = load_file(tmp_path / "out/model.safetensors")
    assert max((weights[name] - plain[0][name]).abs().max() for name in plain[0]) < 1e-4


def test_clipping_is_that_of_the_whole_gradient(base, samples, tmp_path):
    clipped = {**RECIPE, "gradient_clipping": 1.0}
    expected = plain_loop(base, samples, **clipped)
    for stage in (0, 1, 3):
        assert_equals_plain(*run(base, samples, tmp_path / str(stage), **clipped, zero_stage=stage), expected)


@pytest.mark.parametrize(("arch", "tied"), [("llama", True), ("qwen2", True), ("qwen3", False), ("mistral", False)])
def test_other_architectures_and_tied_embeddings(samples, tmp_path, arch, tied):
    original = tiny_model(tmp_path / "base", arch, tied=tied)
    expected = plain_loop(tmp_path / "base", samples[:8], **RECIPE)
    for stage in (1, 3):
        out = tmp_path / str(stage)
        assert_equals_plain(*run(tmp_path / "base", samples[:8], out, zero_stage=stage), expected)
        trained = checkpoints.load_model(out)
        assert type(trained) is type(original) and trained.config.tie_word_embeddings == tied


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_bfloat16_keeps_an_fp32_master_copy(base, samples, tmp_path, stage):
    """Updates far below bfloat16's resolution must add up."""
    values = {"learning_rate": 1e-4, "epsilon": 1e-8, "epochs": 20, "zero_stage": stage}
    original = load_file(base / "model.safetensors")
    _, exact = run(base, samples, tmp_path / "fp32", **values)
    report, rounded = run(base, samples, tmp_path / "bf16", **values, dtype="bfloat16")
    assert {tensor.dtype for tensor in rounded.values()} == {torch.bfloat16}
    name = "model.layers.0.mlp.gate_proj.weight"
    large = original[name].abs() > 0.1  # one step here is a tenth of the distance between neighbours or less
    moved = (exact[name] - original[name])[large]
    missed = (rounded[name].float() - exact[name])[large]
    assert missed.abs().mean() < 0.5 * moved.abs().mean()
    assert len(report["losses"]) == 60 and report["losses"][-1] < report["losses"][0]


def test_gradient_checkpointing_changes_nothing(base, samples, plain, tmp_path):
    assert_equals_plain(*run(base, samples, tmp_path / "out", gradient_checkpointing=True), plain)


def test_learning_rate_is_a_cosine_to_zero(base, samples, tmp_path):
    factors = [training_steps.learning_rate_factor(step, 4) for step in range(5)]
    assert factors == pytest.approx([1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0.0])
    assert [training_steps.learning_rate_factor(s, 5, 3) for s in (0, 2, 3)] == [0.25, 0.75, 1.0]
    report, _ = run(base, samples, tmp_path / "out", learning_rate=1e-3)
    assert report["learning_rates"] == pytest.approx([1e-3, 7.5e-4, 2.5e-4])


def test_the_last_batch_is_short_and_every_epoch_has_an_order_of_its_own():
    settings = FinetuneSettings(epochs=2)
    found = training_steps.batches(20, settings, 0)
    assert [len(batch) for batch in found] == [8, 8, 4, 8, 8, 4]
    assert len(found) == training_steps.steps_of(20, settings)
    for epoch in (found[:3], found[3:]):
        assert sorted(number for batch in epoch for number in batch) == list(range(20))
    assert found[:3] != found[3:]


@pytest.mark.parametrize("world_size", [1, 2, 3, 5, 8, 16])
@pytest.mark.parametrize("micro", [None, 1, 3])
def test_ranks_share_a_batch_and_pad_what_is_missing(samples, world_size, micro):
    plan = training_steps.micro_batch_plan(FinetuneSettings(micro_batch_size=micro), world_size)
    for batch in (samples[:8], samples[:3]):
        seen = 0
        for rank in range(world_size):
            parts = training_steps.micro_batches(batch, plan, Process(rank, world_size, torch.device("cpu")))
            assert len(parts) == plan[1] and all(len(ids) <= plan[0] for ids, _ in parts)
            seen += sum(int((labels != MASKED).sum()) for _, labels in parts)
        assert seen == sum(sample.supervised for sample in batch)


def test_the_report_counts_tokens_and_calls_progress(base, samples, tmp_path):
    calls = []
    settings = FinetuneSettings(**RECIPE)
    seen = []

    def progress(steps, **values):
        calls.append(steps)
        seen.append(values)

    report = loop.finetune(base, samples, settings, tiny_tokenizer(), tmp_path / "out", SEED, progress)
    assert seen[1:] == [{"loss": a, "lr": b} for a, b in zip(report.losses, report.learning_rates, strict=True)]
    order = training_order(20, SEED)
    expected = [sum(samples[i].supervised for i in order[a : a + 8]) for a in (0, 8, 16)]
    assert report.supervised_tokens == expected and report.examples == 20 and sum(calls) == 3
    assert checkpoints.load_tokenizer(tmp_path / "out").bos_token_id == 1
    assert checkpoints.load_model(tmp_path / "out").dtype == torch.float32


def test_nothing_is_left_changed_in_the_process(base, samples, tmp_path):
    before = dict(os.environ)
    run(base, samples[:8], tmp_path / "out")
    assert dict(os.environ) == before and not torch.distributed.is_initialized()


def test_a_loss_that_becomes_nan_is_named_and_nothing_is_written(base, samples, tmp_path):
    with pytest.raises(TrainingError, match=r"step 2: the loss became nan; nothing was written. Lower learning_rate"):
        run(base, samples, tmp_path / "out", learning_rate=1e30)
    assert not list(tmp_path.iterdir()) and not torch.distributed.is_initialized()


def test_weights_damaged_by_the_last_step_are_not_written(base, samples, tmp_path, monkeypatch):
    take_step = loop.take_step

    def damaging(engine, *args):
        step = take_step(engine, *args)
        engine.module.lm_head.weight.data[0, 0] = math.inf
        return step

    monkeypatch.setattr(loop, "take_step", damaging)
    with pytest.raises(TrainingError, match=r"weight lm_head\.weight became nan; nothing was written"):
        run(base, samples[:8], tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_what_could_not_be_saved_afterwards_is_refused_before_the_first_step(base, samples, tmp_path):
    tokenizer, steps = tiny_tokenizer(), []
    tokenizer.init_kwargs["note"] = {"no", "JSON"}
    with pytest.raises(ModelError, match=r"model: transformers loads this model but could not save it after training"):
        loop.finetune(
            base,
            samples,
            FinetuneSettings(**RECIPE),
            tokenizer,
            tmp_path / "out",
            SEED,
            lambda n, **values: steps.append(n),
        )
    assert not steps and not list(tmp_path.iterdir())


def test_generation_settings_that_transformers_refuses_cost_no_training(samples, tmp_path):
    tiny_model(tmp_path / "base")
    (tmp_path / "base/generation_config.json").write_text('{"eos_token_id": [2, 5], "num_return_sequences": 3}')
    run(tmp_path / "base", samples[:8], tmp_path / "out")
    assert json.loads((tmp_path / "out/generation_config.json").read_text())["eos_token_id"] == [2, 5]


def test_samples_without_a_supervised_token_are_refused(base, samples, tmp_path):
    masked = Sample(samples[0].input_ids, [MASKED] * len(samples[0].labels))
    with pytest.raises(TrainingError, match=r"sample 1 .* no supervised token left after masking"):
        run(base, [samples[0], masked], tmp_path / "out")
    with pytest.raises(TrainingError, match="empty"):
        run(base, [], tmp_path / "out")


def test_half_a_launch_is_refused(base, samples, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match=r"RANK.* is not set; start the processes with torchrun"):
        run(base, samples, tmp_path / "out")


def test_a_missing_model_is_refused(samples, tmp_path):
    with pytest.raises(ModelError, match="no such model folder"):
        run(tmp_path / "nowhere", samples, tmp_path / "out")
