"""The benchmarks run on a small model and print what they are for; how fast anything is, is not tested."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from probe_tables import SENTENCES, facts_table
from repository import ROOT
from sftlens import files
from tiny import tiny_model

BENCHMARKS = ROOT / "benchmarks"


def printed(capsys: pytest.CaptureFixture[str], benchmark: str, *args: object) -> str:
    """Run a benchmark in this process and return what it prints."""
    path = [str(BENCHMARKS), *sys.path]
    with patch.object(sys, "argv", [benchmark, *map(str, args)]), patch.object(sys, "path", path):
        runpy.run_path(str(BENCHMARKS / benchmark), run_name="__main__")
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """Return the options that name a tiny model, facts and templates."""
    folder = tmp_path_factory.mktemp("inputs")
    tiny_model(folder / "model", std=0.1)
    files.write_parquet(folder / "facts.parquet", facts_table())
    templates = {relation: {"templates": sentences} for relation, sentences in SENTENCES.items()}
    (folder / "templates.yaml").write_text(yaml.safe_dump(templates), encoding="utf-8")
    return ["--model", folder / "model", "--facts", folder / "facts.parquet", "--templates", folder / "templates.yaml"]


def test_probing_prints_ratios_first_and_tests_that_mastery_is_equal(
    capsys: pytest.CaptureFixture[str], inputs: list[object]
) -> None:
    text = printed(capsys, "probing.py", *inputs, "--slices", 2, "--prompts", 8)
    lines = text.splitlines()
    assert lines[1].startswith("  CPU time, generate / ours: ") and "tokens computed: " in lines[1]
    assert lines[2].startswith("  CPU time, loop / ours: ")
    assert "limit: its matrix products at " in text
    assert lines[-2].startswith("  equal mastery: mean R differs by ") and lines[-1].startswith("  equal per fact: ")


def test_adaptive_probing_prints_agreement_sizes_and_cpu_time(
    capsys: pytest.CaptureFixture[str], inputs: list[object]
) -> None:
    more = ["--calibration-facts", 6, "--probes", 2, "--generate", 2, "--max-new-tokens", 3]
    text = printed(capsys, "adaptive_probing.py", *inputs, *more)
    for part in (
        "two fixed probes: same bucket ",
        "adaptive, fixed: same bucket ",
        "D0: fixed ",
        "CPU time a fact, of ",
    ):
        assert part in text


def test_the_test_of_equal_mastery_sees_a_difference() -> None:
    draw = np.random.default_rng(0)
    rates = draw.uniform(size=(200, 7))

    def table(rates: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame({"template_hits": draw.binomial(10, rates).tolist()})

    with patch.object(sys, "path", [str(BENCHMARKS), *sys.path]):
        test = runpy.run_path(str(BENCHMARKS / "probing.py"))["test_of_equality"]
    first, same, other = table(rates), table(rates), table(np.clip(rates + 0.02, 0, 1))
    swapped = table(np.clip(rates + np.where(np.arange(200) % 2, 0.15, -0.15)[:, None], 0, 1))

    def p_values(text: str) -> list[float]:
        return [float(part.split(")")[0]) for part in text.split("p = ")[1:]]

    assert min(p_values(test(first, same, 10))) > 0.01
    assert p_values(test(first, other, 10))[0] < 0.01
    assert p_values(test(first, swapped, 10))[1] < 0.01


@pytest.mark.parametrize("geometry", [[], ["--geometry", "1M"]])
def test_greedy_prints_ratios_and_how_many_answers_are_equal(
    capsys: pytest.CaptureFixture[str], inputs: list[object], geometry: list[str]
) -> None:
    lines = printed(capsys, "greedy.py", *inputs[:4], *geometry, "--slices", 1, "--questions", 4).splitlines()
    assert lines[1].startswith("  CPU time, generate / ours: ") and "tokens computed: " in lines[1]
    assert lines[2].startswith("  CPU time, generate one by one / ours: ")
    assert lines[-2].startswith("  limit: its matrix products at ") and " GFLOP/s" in lines[-2]
    assert lines[-1].startswith("  equal token by token: ")


def test_restoring_is_compared_with_two_other_ways(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shapes = {"hidden_size": 16, "intermediate_size": 32, "kv_size": 8, "vocab_size": 50}
    command = [sys.executable, BENCHMARKS / "restoration_against_topk.py", "--layers", "1", "--repeats", "1"]
    small = f"import _restoration; _restoration.GEOMETRY.update({shapes}); import runpy, sys; "
    small += "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    printed = subprocess.run(
        [sys.executable, "-c", small, *map(str, command[1:]), "--folder", tmp_path], cwd=BENCHMARKS, text=True,
        capture_output=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert printed[0].endswith("ours / theirs:")
    for line, names in zip(
        printed[1:4],
        (
            "streaming / in memory",
            "streaming / tensor by tensor",
            "concentration, streaming / concentration, in memory",
        ),
        strict=True,
    ):
        assert line.startswith(f"  {names}: CPU ") and "memory" in line


def test_work_without_memory_of_its_own_counts_as_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    with patch.object(sys, "path", [str(BENCHMARKS), *sys.path]):
        benchmark = runpy.run_path(str(BENCHMARKS / "_restoration.py"))
    benchmark["watched"](lambda: None)
    assert json.loads(capsys.readouterr().out)["memory"] > 0


@pytest.mark.parametrize("task", ["probing", "greedy"])
def test_memory_of_one_case_is_a_number_of_bytes(
    capsys: pytest.CaptureFixture[str], inputs: list[object], task: str
) -> None:
    assert int(printed(capsys, "probing_memory.py", *inputs, "--case", task, 6, 512)) >= 0


def test_a_step_of_a_strategy_is_compared_with_one_of_full(capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--rounds", 1, "--steps", 4, "--layers", 1, "--hidden", 64, "--vocabulary", 400]
    lines = printed(capsys, "strategies.py", *size, "--only", "l2-sp", "freeze").splitlines()
    assert lines[-2].startswith("  l2-sp ") and "bar 1.1: " in lines[-2]
    assert lines[-1].startswith("  freeze ") and "bar" not in lines[-1]


def test_lora_is_compared_with_peft_in_memory_and_in_what_it_makes(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("accelerate", reason="transformers' Trainer needs accelerate")
    size = ["--lora", "--rounds", 1, "--steps", 3, "--layers", 1, "--hidden", 64, "--vocabulary", 400]
    lines = printed(capsys, "finetuning_against_trainer.py", *size).splitlines()
    assert lines[-2].startswith("peak memory ") and " MB / " in lines[-2]
    assert float(lines[-1].removeprefix("largest difference of a trained weight: ")) < 1e-6


def test_types_are_compared_by_time_answers_and_buckets(
    capsys: pytest.CaptureFixture[str], inputs: list[object], tmp_path: Path
) -> None:
    tiny_model(tmp_path / "bf16", std=0.2, dtype=torch.bfloat16)
    size = ["--questions", 4, "--probed", 2, "--turns", 1, "--as-it-is"]
    lines = printed(capsys, "computing_type.py", "--model", tmp_path / "bf16", *inputs[2:], *size).splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:5]] == [
        "answers", "mastery", "divergence, first tokens", "fine-tuning"
    ]  # fmt: skip
    assert "of 4 answers differ" in lines[5] and "buckets that differ: " in lines[6] and " of 2 between" in lines[6]


def test_a_check_reads_each_model_once_and_its_memory_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--layers", 2, "--hidden", 64, "--vocabulary", 300, "--facts", 20]
    first = printed(capsys, "check_memory.py", *size).splitlines()[0]
    assert first.startswith("peak memory less one model's weights: ")
    assert first.endswith("reads of the base 1.00, of the fine-tuned model 1.00")


def test_a_job_with_two_cpus_is_compared_with_one(capfd: pytest.CaptureFixture[str], inputs: list[object]) -> None:
    _, model, _, facts, _, templates = inputs
    small = ["--model", model, "--facts-table", facts, "--templates", templates, "--facts", 3, "--examples", 8]
    with patch.dict(os.environ):
        lines = printed(capfd, "two_cpus.py", *small, "--compute-dtype", "float32").splitlines()
    jobs = ("mastery, 3 facts", "finetune, 8 facts, --cpus 2", "finetune, 8 facts, --processes 2")
    for job, line in zip(jobs, lines, strict=True):
        assert line.startswith(f"{job}: two CPUs take ")


def test_planning_is_counted_in_loops_and_its_growth_is_an_exponent(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    study = yaml.safe_load((ROOT / "config/paper.yaml").read_text(encoding="utf-8"))
    study |= {"scales": [60], "seeds": [0], "experiments": {"divergence": {"train_sets": ["D0"]}}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    with patch.dict(os.environ, {"ENTITY_QUESTIONS_DIR": ""}):
        lines = printed(capsys, "planning.py", "--config", tmp_path / "study.yaml", "--models", 1, 3).splitlines()
    assert lines[0].startswith("a fixed loop") and " loops, " in lines[1]
    assert lines[2].startswith("  1 models: ") and lines[3].startswith("  3 models: ")
    assert lines[4].startswith("growth: ") and "jobs ** " in lines[4] and lines[5].startswith("of sftlens: ")


def test_the_gpu_benchmark_checks_itself_on_the_cpu(tmp_path: Path) -> None:
    """Every section runs on a small geometry, and every result is within its bound."""
    out = tmp_path / "gpu.json"
    command = [BENCHMARKS / "gpu" / "run.sh", "--tiny", "--out", out]
    subprocess.run(command, check=True, env={**os.environ, "PYTHON": sys.executable}, capture_output=True)
    rows = files.read_json(out)["rows"]
    bounded = {row["name"]: row for row in rows if "bound" in row}
    assert {"restored set equal, relative, bfloat16", "greedy answers equal, run 1"} <= set(bounded)
    assert any(name.startswith("resumed training has the same bytes") for name in bounded)
    spent = [row["section"] for row in rows if row["name"] == "seconds of the section"]
    assert spent == ["correctness", "ceilings", "decode", "profile", "probing", "answers", "restoring", "training"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_measured() -> None:
    command = [BENCHMARKS / "gpu" / "run.sh"]
    env = {**os.environ, "PYTHON": sys.executable}
    assert subprocess.run(command, check=True, env=env, capture_output=True, text=True).stdout.startswith("no GPU here")
