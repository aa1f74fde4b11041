"""sftlens check: what a fine-tuning cost, with an exit status that a gate can use."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

import repair_models
from lora_models import trained
from script_calls import ok, refused
from sftlens.diagnosis import screen
from sftlens.files import read_json
from sftlens.models import checkpoints
from sftlens.models.checkpoints import load_model
from tiny import tiny_model

QUICK = ["--max-new-tokens", 6, "--task-max-new-tokens", 6, "--floor-facts", 20]
QUICK += ["--few-shot", "prompts=2", "shots=2", "samples=2", "max_new_tokens=6"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = repair_models.make(tmp_path_factory.mktemp("check") / "models")
    shutil.copytree(made / "base", made / "nudged")
    weights = load_file(made / "nudged" / "model.safetensors")
    name = next(name for name in weights if name.endswith("up_proj.weight"))
    weights[name][0, 0] += 1e-3  # a change that no answer depends on
    save_file(weights, made / "nudged" / "model.safetensors", {"format": "pt"})
    return made


def status(models: Path, tuned: str, *options: object) -> int:
    """Run the script; return its exit status."""
    try:
        ok("check.py", models / "base", models / tuned, "--facts", models / "facts.csv", *QUICK, *options)
    except SystemExit as end:
        assert isinstance(end.code, int), end.code
        return end.code
    return 0


def test_a_published_task_file_has_its_own_score(models: Path, tmp_path: Path) -> None:
    rows = [{"document": prompt, "summary": colour} for prompt, colour in repair_models.TASK]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, rows)))
    plain = models / "task.jsonl"
    # Both are asked with the prompt as it stands; x.jsonl is recognised by its fields.
    asked = ["--prompt-template", "{question}", "--task", f"{tmp_path}/x.jsonl=7", "--task", plain]
    assert status(models, "tuned", *asked, "--out", tmp_path / "out") == 0
    report = read_json(tmp_path / "out/report.json")
    xsum, exact = (report["tasks"][name] for name in ("x.jsonl", "task.jsonl"))
    assert xsum["after"] >= exact["after"] > 0.2 >= 0 == xsum["before"]  # ROUGE-L counts a target among other words
    assert report["settings"]["task_max_new_tokens"] == 6 and "rougeL, exact" in report["measured"]["task"]


def test_a_task_file_that_is_none_of_its_form_is_one_line(models: Path, tmp_path: Path) -> None:
    (tmp_path / "g.jsonl").write_text('{"question": "How many?", "answer": "Seven."}\n')
    given = ["check.py", models / "base", models / "tuned", "--facts", models / "facts.csv", "--task"]
    said = refused(*given, f"gsm8k:{tmp_path}/g.jsonl")
    assert f"{tmp_path}/g.jsonl, line 1: column 'answer' holds 'Seven.', no target of task gsm8k" in said
    assert "no column 'prompt' and 'target', or 'messages'" in refused(*given, tmp_path / "g.jsonl")
    assert "there is no task 'gsm9k'; did you mean 'gsm8k'?" in refused(*given, f"gsm9k:{tmp_path}/g.jsonl")


def test_lost_facts_fail_the_gate_and_each_model_is_loaded_once(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Any] = []
    monkeypatch.setattr(checkpoints, "load_model", lambda *a, **k: (loaded.append(a[0]), load_model(*a, **k))[1])
    task, out = models / "task.jsonl", tmp_path / "out"
    assert status(models, "tuned", "--task", f"{task}=10", "--fail-if-lost", 5, "--out", out) == 2
    assert sorted(path.name for path in loaded) == ["base", "tuned"]
    said, told = capsys.readouterr()
    for again in ("", " (again, in other batches: the noise)"):
        assert told.count(f"check: fine-tuned: answers to the questions, and the task{again}\n") == 1
    assert len(said.splitlines()) <= screen.LINES and max(map(len, said.splitlines())) <= screen.WIDTH
    assert "knowledge lost" in said and "task.jsonl kept" in said and "right before, wrong now" in said
    assert re.search(r"Where was N\d+ born\? +(Oslo|Rome|Lima|Bonn|Graz|Kyiv|Baku|Nice) +not ", said)
    report = read_json(out / "report.json")
    assert report["outcome"] == report["verdict"]["outcome"] == "lost"
    facts, task = report["answered"], report["tasks"]["task.jsonl"]
    assert facts["before"] > 0.95 and facts["high"] < -0.1 and facts["floor"] == 0
    assert task["after"] > task["before"] and task["tolerance"] == 0.1
    assert report["kl"]["value"] > 0.1 and report["kl"]["floor"] < 1e-6
    answers = pd.read_csv(out / "answers.csv")
    lost = answers["base: right"] & ~answers["fine-tuned: right"]
    assert report["right_to_wrong"] == lost.sum() > 8
    page = (out / "report.html").read_text()
    assert "Right before, wrong now" in page and "few-shot QA sampling" in page
    ok("compare.py", out)  # its tables are what sftlens compare reads
    assert "lost" in capsys.readouterr().out


def test_kept_passes_and_too_little_evidence_says_how_many_facts_would_do(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(models, "nudged", "--fail-if-lost", 10) == 0
    assert "knowledge kept" in capsys.readouterr().out
    assert status(models, "nudged", "--fail-if-lost", 2) == 3
    assert "about 190 would be enough, there are 80" in " ".join(capsys.readouterr().out.split())
    assert status(models, "tuned") == 0  # without --fail-if-lost it is no gate


def test_a_task_that_lost_more_than_its_own_tolerance_fails_the_gate(models: Path, tmp_path: Path) -> None:
    answers = [
        f'{{"prompt": "Question: {question}\\nAnswer:", "target": "{place}"}}'
        for question, place in repair_models.FACTS
    ]
    (tmp_path / "places.jsonl").write_text("\n".join(answers))
    tasks = ["--task", models / "task.jsonl", "--task", f"{tmp_path / 'places.jsonl'}=1"]
    assert status(models, "tuned", *tasks, "--fail-if-lost", 100, "--out", tmp_path / "out") == 2
    report = read_json(tmp_path / "out" / "report.json")
    assert report["tasks"]["places.jsonl"]["outcome"] == "lost" and report["verdict"]["outcome"] != "lost"
    assert "write FILE=POINTS" in refused("check.py", models / "base", models / "tuned", "--task", "task.jsonl=much")


def test_the_same_model_is_found_before_anything_is_loaded(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "load_model", None)
    assert "is the base model itself" in refused("check.py", models / "base", models / "base")
    load_model(models / "base", device="cpu").save_pretrained(tmp_path / "copy", max_shard_size="20KB")
    for file in (models / "base").glob("tokenizer*"):
        shutil.copy(file, tmp_path / "copy")
    assert "holds the same weights" in refused("check.py", models / "base", tmp_path / "copy")


def test_without_facts_the_question_set_of_sftlens_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, name in enumerate(("base", "tuned")):
        tiny_model(tmp_path / name, seed=seed)
    ok("check.py", tmp_path / "base", tmp_path / "tuned", "--most-facts", 30, *QUICK, "--compute-dtype", "bfloat16")
    said = capsys.readouterr().out
    assert "30 facts (the question set of sftlens); computed in bfloat16" in said
    assert "give examples that it knows" in " ".join(said.split())


def test_an_adapter_is_checked(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(tmp_path / "adapter", models / "base", lora_alpha=40)
    config = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    named = {**config, "base_model_name_or_path": "org/model-bnb-4bit"}
    (tmp_path / "adapter/adapter_config.json").write_text(json.dumps(named))
    out = ["--out", tmp_path / "out"]
    ok("check.py", models / "base", tmp_path / "adapter", "--facts", models / "facts.csv", *QUICK, *out)
    said = capsys.readouterr().out
    assert "knowledge lost" in said  # the adapter is random
    told = "an adapter trained on org/model-bnb-4bit, a quantised base, merged here into"
    assert told in " ".join(said.split())
    assert all(told in (tmp_path / "out" / name).read_text() for name in ("report.json", "report.html"))


def test_files_that_were_not_made_here_are_left_alone(models: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert "holds files that were not made here" in refused(
        "check.py", models / "base", models / "tuned", "--out", tmp_path
    )
