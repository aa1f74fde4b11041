"""`snakemake repair`: a model of one's own through Snakemake, without any training."""

from pathlib import Path

from study import configure, copy_repository, planned, snakemake

import repair_models
from sftlens.files import read_json, sha256


def test_a_study_that_only_repairs(tmp_path: Path) -> None:
    models = repair_models.make(tmp_path / "models")
    before = {path: sha256(path) for path in models.rglob("*") if path.is_file()}
    folder = copy_repository(tmp_path / "repository")
    section = {
        "base": str(models / "base"), "finetuned": str(models / "tuned"), "facts": str(models / "facts.csv"),
        "task": str(models / "task.jsonl"), "prompt_template": "Question: {question}\nAnswer:",
        "ratios": [1, 60], "criteria": ["absolute"], "max_new_tokens": 6, "task_max_new_tokens": 6, "reprobe": 20,
        "few_shot": {"prompts": 2, "shots": 2, "samples": 2, "max_new_tokens": 6},
    }  # fmt: skip
    configure(folder, {"study": "mine", "repair": section})
    assert planned(folder) == {"repair": 1}
    snakemake(folder, "repair")
    out = folder / "results" / "mine" / "repair"
    assert read_json(out / "report.json")["outcome"]["written"]
    assert sorted(path.name for path in out.iterdir() if not path.name.startswith(".")) == [
        "answers.csv", "model", "report.html", "report.json", "tradeoff.csv", "tradeoff.png"
    ]  # fmt: skip
    assert (out / "model" / "model.safetensors").is_file()
    assert planned(folder) == {}
    # One more ratio runs the job again, which measures nothing but this ratio.
    configure(folder, {"study": "mine", "repair": {**section, "ratios": [1, 5, 60]}})
    snakemake(folder)
    log = (folder / "results" / "mine" / "logs" / "repair.log").read_text()
    assert "absolute 5 %: answers" in log and "repair: base" not in log and "absolute 1 %: " not in log
    assert {path: sha256(path) for path in before} == before
    with (models / "facts.csv").open("a") as file:
        file.write("Where was N0 born?,Oslo\n")
    done = snakemake(folder, check=False)
    assert done.returncode != 0 and "Traceback" not in done.stdout + done.stderr
    log = (folder / "results" / "mine" / "logs" / "repair.log").read_text()
    assert "stands there twice (first in line 2); delete one" in log
