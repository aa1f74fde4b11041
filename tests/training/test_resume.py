"""A training run that is killed at any point goes on and ends with the bytes of a run that never was."""

import json
import os
import random
import signal
import time

import pytest
import torch

import killed_runs
from killed_runs import Job, Kill
from sftlens import files
from sftlens.config.stages.training import FinetuneSettings
from sftlens.errors import TrainingError, TrainingPaused
from sftlens.inference import prompts
from sftlens.runtime import events
from sftlens.training import deepspeed_config, loop, resume
from sftlens.training.loop import Resume
from sftlens.training.time_limit import Clock
from tiny import tiny_model, tiny_tokenizer

RECIPE = {"learning_rate": 1e-3, "batch_size": 4, "checkpoint_steps": 2}
STEPS = 8
KINDS = {
    "stage 0": {"zero_stage": 0, "dtype": "float32"},
    "stage 1": {"zero_stage": 1},
    "stage 2": {"zero_stage": 2, "micro_batch_size": 1},
    "stage 3": {"zero_stage": 3},
    "offload": {"zero_stage": 3, "offload": "parameters"},
}


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Return a maker of jobs on one tiny model and forty samples."""
    folder = tmp_path_factory.mktemp("resuming")
    tiny_model(folder / "base")
    questions = [f"Where was Ada {i} Loren born?" for i in range(4 * STEPS - 1)]
    samples = prompts.encode_samples(tiny_tokenizer(), questions, ["Port Vale"] * len(questions), 64)

    def make(out, resume=None, deadline=None, **values):
        return Job(folder / "base", samples, FinetuneSettings(**RECIPE | values), out, resume, deadline)

    return make


def contents(out):
    """Bytes of everything that a run leaves: the model's folder and the report."""
    model = {path.name: path.read_bytes() for path in out.iterdir()}
    return model | {"report": out.with_suffix(".json").read_bytes()}


@pytest.mark.parametrize(
    ("kind", "processes"), [("stage 0", 2), ("stage 1", 1), ("stage 2", 2), ("stage 3", 2), ("offload", 1)]
)
def test_killed_at_random_points_it_ends_with_the_same_bytes(job, tmp_path, kind, processes):
    values = KINDS[kind]
    assert killed_runs.run(job(tmp_path / "whole", **values), processes) == [0] * processes
    drawn = random.Random(f"{kind} {processes}")
    killed = job(tmp_path / "killed", tmp_path / "resume", **values)
    for _ in range(3):
        kill = Kill(drawn.randrange(processes), drawn.randint(1, 4), drawn.randint(0, 12))
        codes = killed_runs.run(killed, processes, kill)
        assert codes[kill.rank] in (-signal.SIGKILL, 0) and None not in codes
    assert killed_runs.run(killed, processes) == [0] * processes
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    told = [json.loads(line) for line in (tmp_path / "killed.jsonl").read_text().splitlines()]
    assert all(event.pop("time") for event in told if event.pop("steps_per_second", None))
    assert told == events.of(files.read_json(tmp_path / "killed.json"))  # no step twice, none missing


def test_it_goes_on_from_the_last_state_and_not_from_the_beginning(job, tmp_path):
    killed = job(tmp_path / "out", tmp_path / "resume")
    assert killed_runs.run(killed, 1, Kill(0, 7)) == [-signal.SIGKILL]
    assert sorted(path.name for path in (tmp_path / "resume").iterdir()) == ["step-4", "step-6"]
    # Two of eight steps are left, so that a third of its own is never made.
    assert killed_runs.run(killed, 1, Kill(0, 3)) == [0]


def test_a_state_counts_only_when_every_process_has_written_its_part(job, tmp_path):
    killed = job(tmp_path / "out", tmp_path / "resume")
    killed_runs.run(killed, 2, Kill(1, 5))
    (tmp_path / "resume" / "step-4" / "rank-1.safetensors").write_bytes(b"half")
    assert killed_runs.run(killed, 2, Kill(0, 7)) == [0, 0]  # six of eight steps were left
    whole = job(tmp_path / "whole")
    killed_runs.run(whole, 2)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_another_number_of_processes_begins_again(job, tmp_path):
    killed_runs.run(job(tmp_path / "out", tmp_path / "resume"), 1, Kill(0, 5))
    assert killed_runs.run(job(tmp_path / "out", tmp_path / "resume"), 2) == [0, 0]
    assert all((state / "rank-1.safetensors").is_file() for state in (tmp_path / "resume").iterdir())
    killed_runs.run(job(tmp_path / "whole"), 2)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("processes", [1, 2])
def test_shortly_before_the_time_is_over_it_saves_and_stops(job, tmp_path, processes):
    paused = [75] * processes
    # Less than the reserve is left, so that every start makes one step.
    hurried = job(tmp_path / "out", tmp_path / "resume", deadline=time.time() + 30, checkpoint_steps=None)
    for step in (1, 2, 3):
        assert killed_runs.run(hurried, processes) == paused
        assert (tmp_path / "resume" / f"step-{step}").is_dir()
    relaxed = job(tmp_path / "out", tmp_path / "resume", deadline=time.time() + 3600, checkpoint_steps=None)
    assert killed_runs.run(relaxed, processes) == [0] * processes
    killed_runs.run(job(tmp_path / "whole"), processes)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_told_to_end_it_finishes_the_step_saves_and_stops(job, tmp_path):
    told = job(tmp_path / "out", tmp_path / "resume", checkpoint_steps=None)
    assert killed_runs.run(told, 2, Kill(1, 3), signal.SIGTERM) == [75, 75]
    assert [path.name for path in (tmp_path / "resume").iterdir()] == ["step-4"]
    assert killed_runs.run(told, 2) == [0, 0]


# Every key that a file of DeepSpeed options may have, with another value than its default.
OPTIONS = {
    "fp32 gradients": {"zero_stage": 1, "micro_batch_size": 1},
    "gradients shared": {"zero_stage": 2, "micro_batch_size": 1},
    "weights shared": {"zero_stage": 3, "micro_batch_size": 1, "offload": "parameters"},
}
FILES = {
    "fp32 gradients": {
        "data_types": {"grad_accum_dtype": "fp32"},
        "communication_data_type": "fp32",
        "wall_clock_breakdown": True,
        "memory_breakdown": False,  # true prints, and collects garbage six times a step
        "zero_optimization": {"allgather_bucket_size": 1000},
    },
    "gradients shared": {
        "data_types": {"grad_accum_dtype": "fp32"},
        "zero_optimization": {
            "stage": 2,
            "contiguous_gradients": False,
            "reduce_scatter": False,
            "reduce_bucket_size": 1000,
            "use_multi_rank_bucket_allreduce": False,
            "allgather_partitions": False,
            "round_robin_gradients": True,
            "overlap_comm": True,
        },
    },
    "weights shared": {
        "data_types": {"grad_accum_dtype": "fp32"},
        "zero_optimization": {
            "sub_group_size": 1000,
            "stage3_prefetch_bucket_size": 1000,
            "stage3_param_persistence_threshold": 0,
            "stage3_max_live_parameters": 1000,
            "stage3_max_reuse_distance": 1000,
            "stage3_module_granularity_threshold": 1000,
            "stage3_use_all_reduce_for_fetch_params": True,
            "offload_optimizer": {"device": "cpu", "pin_memory": False},
            "offload_param": {
                "device": "cpu",
                "pin_memory": False,
                "buffer_count": 4,
                "buffer_size": 1000,
                "max_in_cpu": 1000,
            },
        },
    },
}


@pytest.mark.parametrize("kind", OPTIONS)
def test_with_every_option_of_deepspeed_it_ends_with_the_same_bytes(job, tmp_path, kind):
    files.write_json(tmp_path / "options.json", FILES[kind])
    values = OPTIONS[kind] | {"deepspeed": str(tmp_path / "options.json")}
    assert killed_runs.run(job(tmp_path / "whole", **values), 1) == [0]
    killed = job(tmp_path / "killed", tmp_path / "resume", **values)
    killed_runs.run(killed, 1, Kill(0, 5))
    assert (tmp_path / "resume" / "step-4").is_dir()
    assert killed_runs.run(killed, 1, Kill(0, 5)) == [0]  # four of eight steps were left
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_every_option_that_a_file_may_have_is_among_them():
    top = {key for given in FILES.values() for key in given}
    zero = {key: value for given in FILES.values() for key, value in given.get("zero_optimization", {}).items()}
    assert top == deepspeed_config.FREE and set(zero) == deepspeed_config.ZERO
    assert {part: set(zero[part]) for part in deepspeed_config.OFFLOAD} == deepspeed_config.OFFLOAD


def test_an_optimiser_of_deepspeed_that_is_not_known_is_refused():
    class Engine:
        optimizer, module = object(), torch.nn.Linear(1, 1)

        def zero_optimization_stage(self):
            return 1

    with pytest.raises(TrainingError, match=r"keeps its fp32 weights where sftlens does not find them"):
        resume.masters(Engine())


def test_a_state_that_takes_longer_to_save_than_the_notice_is_saved_more_often():
    roomy, short = (Clock(60, None, None, notice) for notice in (30, 0.01))
    for clock in (roomy, short):
        clock.saved(5, guessed=True)
        clock.saved(0.02)  # what was measured counts, not what was thought before
    time.sleep(0.25)
    assert (roomy.step(), short.step()) == ((False, False), (True, False))
    assert roomy.at_stake() == ""
    assert "1 steps (0 seconds of work) are lost" in short.at_stake()


def test_told_to_end_with_too_short_a_notice_it_says_what_may_be_lost(job, tmp_path, capsys):
    told = job(tmp_path / "out", tmp_path / "resume", checkpoint_steps=None, notice_seconds=1e-9)
    made = []

    def progress(steps, **values):
        made.extend([True] * (steps == 1))
        if len(made) == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(TrainingPaused):
        loop.finetune(told.model, told.samples, told.settings, None, told.out, 5, progress, Resume(told.resume))
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("told to end")]
    assert len(said) == 1 and "the notice is 0 seconds (finetuning.notice_seconds)" in said[0]
    assert "steps (0 seconds of work) are lost" in said[0] and (tmp_path / "resume" / "step-4").is_dir()
