"""sftlens finetune as people call it: several processes, errors of its workers, a scale beyond the training set."""

import json
import subprocess
import sys

import pandas as pd
import pytest
from safetensors.torch import load_file
from test_loop import ANSWERS, QUESTIONS, SEED, base, run

from repository import ROOT
from sftlens.inference import prompts
from tiny import tiny_tokenizer

SCRIPT = ROOT / "scripts" / "finetune.py"
assert base  # the fixture


@pytest.fixture
def train_file(tmp_path):
    relations = ["P17", "P19"] * 10
    table = pd.DataFrame({"question": QUESTIONS, "object": ANSWERS, "relation": relations, "bucket": "D2"})
    table.to_parquet(tmp_path / "train.parquet")
    return tmp_path / "train.parquet"


def finetune_script(base, train_file, out, *options):
    command = [sys.executable, SCRIPT, "--model", base, "--train", train_file, "--out", out, *options]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)


def test_script_in_two_processes_writes_what_one_process_writes(base, train_file, tmp_path):
    recipe = ["--learning-rate", 1e-2, "--epsilon", 0.1, "--gradient-clipping", 1e3, "--dtype", "float32"]
    options = [*recipe, "--scale", 13, "--zero-stage", 2, "--seed", SEED, "--processes", 2]
    done = finetune_script(base, train_file, tmp_path / "out", *options)
    assert done.returncode == 0 and done.stdout == "", done.stderr
    encoded = prompts.encode_samples(tiny_tokenizer(), QUESTIONS[:13], ANSWERS[:13], 64)
    report, weights = run(base, encoded, tmp_path / "one", zero_stage=2)
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert max((written[name] - weights[name]).abs().max() for name in weights) < 1e-4
    summary = json.loads((tmp_path / "out.json").read_text())
    assert summary["losses"] == pytest.approx(report["losses"], abs=1e-4)
    assert summary["shares"] == {"P17": pytest.approx(7 / 13), "P19": pytest.approx(6 / 13)}
    assert [row["metric"] for row in summary["metrics"]] == ["examples", "loss_first", "loss_last"]
    assert summary["supervised_tokens"] == report["supervised_tokens"] and summary["train_set"] == "D2"


def test_script_tells_a_workers_error_in_one_line_and_writes_nothing(base, train_file, tmp_path):
    before = sorted(tmp_path.iterdir())
    options = ["--dtype", "float32", "--learning-rate", "1e30", "--processes", "2"]
    failed = finetune_script(base, train_file, tmp_path / "out", *options)
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: step 2: the loss became nan") and failed.stderr.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_script_refuses_a_scale_beyond_the_training_set(base, train_file, tmp_path):
    failed = finetune_script(base, train_file, tmp_path / "out", "--scale", "60")
    assert failed.returncode == 1 and failed.stderr.startswith("error: training set D2 has 20 facts")
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.json").exists()


def test_threads_are_part_of_what_a_result_is_made_with(base, train_file, tmp_path):
    """Two numeric threads may round sums in another way; one leaves no trace, as in results from before."""
    for cpus, threads in ((1, None), (2, 2)):
        done = finetune_script(base, train_file, tmp_path / f"{cpus}", "--dtype", "float32", "--cpus", cpus)
        assert done.returncode == 0, done.stderr
        assert json.loads((tmp_path / f"{cpus}.json").read_text())["settings"].get("threads") == threads
