"""sftlens repair on a model that lost facts which can be restored, and on one that lost none."""

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

import repair_models
from lora_models import trained
from script_calls import SCRIPTS, ok
from sftlens.files import read_json, sha256
from sftlens.models import checkpoints
from sftlens.models.checkpoints import load_model, load_tokenizer
from sftlens.repair import output, user_files

QUICK = ["--max-new-tokens", 6, "--task-max-new-tokens", 6, "--reprobe", 20]
QUICK += ["--few-shot", '{"prompts": 2, "shots": 2, "samples": 2, "max_new_tokens": 6}']
SWEEP = ["--ratio", 1, "--ratio", 60, "--criterion", "absolute", "--criterion", "interpolation"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repair_models.make(tmp_path_factory.mktemp("repair") / "models")


def files_below(folder: Path) -> dict[Path, str]:
    return {path: sha256(path) for path in folder.rglob("*") if path.is_file()}


def call(models: Path, out: Path, *options: object, finetuned: str = "tuned", task: bool = True) -> dict[str, Any]:
    """Run the script; return its report. What one test measured, the next one need not measure again."""
    given = ["--task", models / "task.jsonl"] if task else []
    given += [] if "--state" in options else ["--state", models.parent / "state"]
    asked = ["--facts", models / "facts.csv", *given, *QUICK, "--out", out]
    ok("repair.py", models / "base", models / finetuned, *asked, *options)
    return read_json(out / "report.json")


def test_damage_in_few_elements_is_found_and_restored(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, out = files_below(models), tmp_path / "out"
    report = call(models, out, *SWEEP)
    assert report["outcome"]["written"] and report["outcome"]["confirmed"]
    assert (report["outcome"]["criterion"], report["outcome"]["ratio"]) == ("absolute", 1)
    assert report["outcome"]["sentence"] in capsys.readouterr().out
    rows = pd.DataFrame(report["metrics"])
    gain = rows[(rows["metric"] == "gain") & (rows["bucket"] == "all")].iloc[0]
    assert gain["model"] == "absolute 1 %" and gain["half"] == "reporting" and gain["low"] > 0.1
    cost = rows[(rows["metric"] == "cost") & (rows["bucket"] == "all")].iloc[0]
    assert cost["high"] < -0.1 and cost["n"] == repair_models.COUNT
    assert {"kl", "reprobed_mastery", "well_formed", "task_score"} <= set(rows["metric"])
    # Without 60 %: there the task is lost, though all facts are back.
    curve = pd.read_csv(out / "tradeoff.csv").set_index(["criterion", "ratio", "half"])
    assert (
        curve.loc[("absolute", 60, "choosing"), "gains"] and not curve.loc[("absolute", 60, "choosing"), "keeps_task"]
    )
    assert len(curve) == 2 * (4 + 1)
    # The model is the fine-tuned one, with exactly the elements of the cut restored.
    ok(
        "restore.py",
        models / "base",
        models / "tuned",
        "--ratio",
        1,
        "--criterion",
        "absolute",
        "--out",
        tmp_path / "same",
    )
    found, wanted = (load_file(folder / "model.safetensors") for folder in (out / "model", tmp_path / "same"))
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())
    load_model(out / "model"), load_tokenizer(out / "model")
    card = (out / "model" / "README.md").read_text()
    assert "criterion `absolute`" in card and report["outcome"]["sentence"] in card and report["rule"] in card
    page = (out / "report.html").read_text()
    assert "data:image/png;base64," in page and "few-shot QA sampling" in page and "both models read" in page
    assert files_below(models) == before


def test_answers_are_listed_and_halves_are_kept_apart(models: Path, tmp_path: Path) -> None:
    report = call(models, tmp_path / "out", *SWEEP, "--ratio", 5)
    with (tmp_path / "out" / "answers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["question"] for row in rows] == [question for question, _ in repair_models.FACTS]
    assert all(row["half"] == user_files.half_of(row["question"]) for row in rows)
    chosen = [row for row in rows if row["half"] == "choosing"]
    assert report["examples"]["facts"] == {"choosing": len(chosen), "reporting": len(rows) - len(chosen)}
    criterion, ratio = (report["outcome"][key] for key in ("criterion", "ratio"))
    name = f"{criterion} {ratio:g} %"
    curve = pd.read_csv(tmp_path / "out" / "tradeoff.csv").set_index(["criterion", "ratio", "half"])
    right = [row[f"{name}: right"] == "True" for row in chosen]
    assert curve.loc[(criterion, ratio, "choosing"), "facts"] == pytest.approx(sum(right) / len(right), rel=1e-5)
    known = [row["base: right"] == "True" for row in chosen]
    base = curve.xs("choosing", level="half").loc["base", "facts"].item()
    assert base == pytest.approx(sum(known) / len(known), rel=1e-5)
    for (_, answer), row in zip(repair_models.FACTS, rows, strict=True):
        assert (answer in row[f"{name}: answer"]) == (row[f"{name}: right"] == "True")


def test_a_model_that_lost_nothing_is_left_alone(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(models / "base", models / "same")
    weights = load_file(models / "same" / "model.safetensors")
    name = next(name for name in weights if name.endswith("up_proj.weight"))
    weights[name][0, 0] += 1e-3  # a change that no answer depends on
    save_file(weights, models / "same" / "model.safetensors", {"format": "pt"})
    report = call(models, tmp_path / "out", *SWEEP, finetuned="same")
    assert report["outcome"] == {**report["outcome"], "written": False, "criterion": None, "confirmed": False}
    assert "Nothing was repaired: no setting beats leaving the fine-tuned model alone" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "out" / "model").iterdir()] == ["README.md"]
    assert "No model was written" in (tmp_path / "out" / "model" / "README.md").read_text()
    assert "No repair" in (tmp_path / "out" / "report.html").read_text()


def test_without_a_task_well_formed_answers_stand_in(models: Path, tmp_path: Path) -> None:
    report = call(models, tmp_path / "out", *SWEEP, task=False)
    assert report["outcome"]["written"] and "share of well-formed answers" in report["rule"]
    curve = pd.read_csv(tmp_path / "out" / "tradeoff.csv")
    assert (curve["task_n"] == curve["facts_n"]).all()


def test_a_new_ratio_measures_nothing_again(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    call(models, tmp_path / "out", *SWEEP, "--state", tmp_path / "state")
    first = capsys.readouterr().err
    assert "repair: base: mastery" in first and "repair: absolute 60 %: answers" in first
    loaded: list[Any] = []
    monkeypatch.setattr(checkpoints, "load_model", lambda *a, **k: (loaded.append(a), load_model(*a, **k))[1])
    call(models, tmp_path / "out", *SWEEP, "--ratio", 5, "--state", tmp_path / "state")
    assert len(loaded) == 1  # the fine-tuned model, for both new settings
    again = re.findall(r"repair: ([\w-]+ \d+ %|base|fine-tuned)", capsys.readouterr().err)
    assert set(again) == {"absolute 5 %", "interpolation 5 %"}


def test_a_killed_run_goes_on_where_it_stopped(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--facts", models / "facts.csv", "--task", models / "task.jsonl", *QUICK, *SWEEP]
    command = [sys.executable, SCRIPTS / "repair.py", models / "base", models / "tuned", *asked, "--out", "out"]
    with subprocess.Popen([*map(str, command)], cwd=tmp_path, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr
        for line in running.stderr:
            if "interpolation 1 %" in line:
                running.send_signal(signal.SIGKILL)
                break
    assert not (tmp_path / "out" / "report.json").exists()
    report = call(models, tmp_path / "out", *SWEEP, "--state", tmp_path / ".out.state")
    measured = capsys.readouterr().err
    assert "fine-tuned: " not in measured and "base: " not in measured and "absolute 1 %: answers" not in measured
    assert "interpolation 60 %: answers" in measured
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(output.OUTPUTS)
    whole = call(models, tmp_path / "other", *SWEEP)
    assert [report[key] for key in ("metrics", "trade_off", "outcome")] == [
        whole[key] for key in ("metrics", "trade_off", "outcome")
    ]


def test_chat_models_are_asked_by_their_template(models: Path, tmp_path: Path) -> None:
    chat = (
        "{% for m in messages %}{{ m['content'] }}{% if m['role'] == 'user' %}{{ '\n' }}Answer:{% endif %}{% endfor %}"
    )
    shutil.copytree(models / "tuned", models / "chat")
    tokenizer = load_tokenizer(models / "chat")
    tokenizer.chat_template = "{{ bos_token }}Question: " + chat
    tokenizer.save_pretrained(models / "chat")
    lines = [
        {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}
        for question, answer in repair_models.FACTS
    ]
    (tmp_path / "chat.jsonl").write_text("\n".join(map(json.dumps, lines)))
    given = [*SWEEP, "--chat-template", "--task", tmp_path / "chat.jsonl"]
    report = call(models, tmp_path / "out", *given, finetuned="chat", task=False)
    # By this template the prompts are those the model learnt.
    plain = call(models, tmp_path / "plain", *SWEEP, task=False)
    shares = [{(r["criterion"], r["ratio"], r["half"]): r["facts"] for r in x["trade_off"]} for x in (report, plain)]
    assert shares[0] == shares[1]
    assert "chat template" in report["measured"]["questions were asked with"]
    assert min(r["task"] for r in report["trade_off"] if r["criterion"] == "base") > 0.9


def test_an_adapter_is_merged_and_repaired(models: Path, tmp_path: Path) -> None:
    trained(models / "adapter", models / "base", lora_alpha=40)
    report = call(models, tmp_path / "out", *SWEEP, finetuned="adapter", task=False)
    assert set(report["inputs"]) == {"facts", "base", "adapter", "finetuned"}
    cost = next(row for row in report["metrics"] if row["metric"] == "cost")
    assert cost["value"] < -0.5  # the adapter is random
    assert f"an adapter trained on {models}/base, merged here into" in (tmp_path / "out" / "report.html").read_text()
    if report["outcome"]["written"]:
        load_model(tmp_path / "out" / "model")


def test_templates_measure_mastery_as_the_paper_does(models: Path, tmp_path: Path) -> None:
    lines = [
        {"question": question, "answer": answer, "relation": "born", "subject": question.split()[2]}
        for question, answer in repair_models.FACTS
    ]
    (tmp_path / "facts.jsonl").write_text("\n".join(map(json.dumps, lines)))
    sentences = ["Question: Where was {subject} born?\\nAnswer:", "{subject} was born in"]
    (tmp_path / "templates.yaml").write_text("born: {templates: [" + ", ".join(f'"{s}"' for s in sentences) + "]}")
    given = [*SWEEP, "--facts", tmp_path / "facts.jsonl", "--templates", tmp_path / "templates.yaml"]
    report = call(models, tmp_path / "out", *given, task=False)
    assert "completion templates" in report["measured"]["mastery"] and "best completion" in report["measured"]["KL"]
    rows = [row for row in report["metrics"] if row["metric"] == "mastery"]
    assert rows[0]["value"] > 0.4  # the first sentence is the learnt prompt


def test_a_vocabulary_may_have_grown(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "tuned", models / "grown")
    tokenizer = load_tokenizer(models / "grown")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|user|>"]})
    tokenizer.save_pretrained(models / "grown")
    model = load_model(models / "grown", device="cpu")
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(models / "grown")
    report = call(models, tmp_path / "out", *SWEEP, finetuned="grown", task=False)
    assert report["outcome"]["written"]
    assert load_model(tmp_path / "out" / "model").config.vocab_size == len(tokenizer)
