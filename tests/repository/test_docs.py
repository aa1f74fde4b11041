"""Every command that README and docs show runs as written; a long one runs on a small model or as a plan."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import yaml

import repair_models
from demo_study import demo
from entity_questions_files import data_set
from repository import ROOT
from sftlens.config import loading
from sftlens.config.stages.data import FactsSettings
from sftlens.dag.targets import select
from sftlens.data import facts
from sftlens.models import checkpoints
from sftlens.planning import job_list
from tiny import tiny_model, tiny_tokenizer

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = [f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))]
PAGES = ("README.md", "CONTRIBUTING.md", "config/README.md", *DOCS)
IN_TURN = ("docs/stages.md", "docs/world.md")
"""Pages whose commands build on one another."""
QUICK = {
    "repair": """--max-new-tokens 6 --task-max-new-tokens 6 --reprobe 0 --ratio 20 --criterion absolute
                 --few-shot prompts=1 shots=1 samples=1 max_new_tokens=2""",
    "check": """--max-new-tokens 6 --task-max-new-tokens 6 --most-facts 20 --floor-facts 0
                --few-shot prompts=1 shots=1 samples=1 max_new_tokens=2""",
    "finetune": "--dtype float32 --zero-stage 0",
    "worlds": "--dry-run --worlds 1",
}
"""Options that make a program quick on the models of the tests."""
OF_THE_SHELL = ("export ", "cp ", "pre-commit install")


def blocks(page: str, language: str = "") -> list[str]:
    """Return the fenced blocks of a page in one language; commands have none."""
    text = (ROOT / page).read_text(encoding="utf-8")
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [block for name, block in fenced if name == language]


def commands(page: str) -> list[str]:
    """Return the commands of a page, continued lines joined, comments cut off."""
    lines = [line for block in blocks(page) for line in re.sub(r"\\\n\s*", " ", block).splitlines()]
    return [re.split(r"\s+# ", line)[0].strip() for line in lines if line.strip()]


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program of a copy of the repository; it must succeed."""
    environment = {**os.environ, "PYTHONPATH": str(folder / "src")}
    environment.pop("ENTITY_QUESTIONS_DIR", None)
    if words[0] in ("sftlens", "snakemake", "pytest"):
        words = [sys.executable, "-m", *words]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}{done.stderr}"
    return done


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with the models and files that the pages name, and the new files that README shows."""
    folder = tmp_path_factory.mktemp("docs") / "clone"
    folder.mkdir()
    for name in ("src", "scripts", "config", "workflow", "profiles", "envs", "tests", "benchmarks"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "pyproject.toml"):
        shutil.copyfile(ROOT / name, folder / name)
    (folder / "slurm").symlink_to("profiles/slurm")
    made = repair_models.make(folder / "models")
    for name, source in (
        ("BASE", "base"),
        ("FINETUNED", "tuned"),
        ("facts.csv", "facts.csv"),
        ("task.jsonl", "task.jsonl"),
    ):
        (folder / name).symlink_to(made / source)
    rows = [f"{question},{answer}" for question, answer in repair_models.FACTS[:8]]
    (folder / "train.csv").write_text("\n".join(["question,answer", *rows]) + "\n")
    sums = [{"question": f"{i} nuts and 2?", "answer": f"{i} + 2\n#### {i + 2}"} for i in range(8)]
    for name in ("gsm8k-train.jsonl", "gsm8k-test.jsonl"):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in sums))
    known = [{"split": "train", "relation": "P19", "bucket": f"D{i % 5}", "question": question, "object": answer}
             for i, (question, answer) in enumerate(repair_models.FACTS)]  # fmt: skip
    pd.DataFrame(known).to_parquet(folder / "mastery.parquet")
    (folder / "my-recipes.yaml").write_text(next(iter(blocks("docs/recipes.md", "yaml"))))
    for name in ("my-study", "my-model"):
        source = "own-model" if name == "my-model" else "config"
        (folder / f"{name}.yaml").write_bytes((ROOT / f"config/{source}.yaml").read_bytes())
    (folder / "mysite").mkdir()
    (folder / "mysite/config.yaml").write_text(next(iter(blocks("docs/cluster.md", "yaml"))))
    for block in blocks("README.md", "python"):
        (folder / block.splitlines()[0].removeprefix("# ")).write_text(block)
    return folder


@pytest.mark.parametrize(
    ("page", "command"),
    [(page, command) for page in PAGES if page not in IN_TURN for command in commands(page)],
)
def test_a_command_runs_as_written(clone: Path, page: str, command: str) -> None:
    program, *words = shlex.split(command)
    if command.startswith(OF_THE_SHELL):
        return
    if program == "make":
        run(["make", "-n", words[0]], ROOT)
    elif program == "pytest":
        run([program, *words, "--collect-only"], clone)
    elif program == "python" or "/" in program:  # run by tests of their own
        assert (ROOT / (words[0] if program == "python" else program)).is_file()
    elif program == "snakemake":
        # Run as it stands it needs cores; the `-n` that the test adds would do without.
        assert {"-n", "--cores", "--profile"} & set(words), f"{page}: {command} says no number of cores"
        planned = [] if {"plan", "cells"} & set(words) else ["-n", "--quiet", "rules"]
        run([program, *words, *planned], clone)
    else:
        assert program == "sftlens", f"{page} shows a command that no test knows: {command}"
        run([program, *words, *shlex.split(QUICK.get(words[0], ""))], clone)


def test_every_stage_runs_by_hand_as_written(tmp_path: Path) -> None:
    questions = data_set(tmp_path / "questions", count=2)
    texts = facts.load(FactsSettings(source="entity_questions", path=str(questions)))["question"].tolist()
    model = tiny_model(tmp_path / "model")
    checkpoints.save_model(model, tiny_tokenizer(texts), tmp_path / "model")
    (tmp_path / "src").symlink_to(ROOT / "src")
    # Short templates, a training set that a random model has, and few examples; else the words of the page.
    relations = yaml.safe_load((ROOT / "config/relations.yaml").read_text())
    few = {name: {**entry, "templates": [f"{{subject}} has {name}"]} for name, entry in relations.items()}
    (tmp_path / "relations.yaml").write_text(yaml.safe_dump(few))
    changed = {
        "--entity-questions DIR": "--entity-questions questions",
        " DIR ": " model ",
        "config/relations.yaml": "relations.yaml",
        "D2": "mixed",
        "--scale 240": "--scale 8",
    }
    for command in commands("docs/stages.md"):
        for old, new in changed.items():
            command = command.replace(old, new)
        run(shlex.split(command), tmp_path)
    for name in ("answers/answers.parquet", "answers/summary.json", "kl/kl.parquet", "changes/tensors.parquet"):
        assert (tmp_path / name).is_file(), name
    restored = checkpoints.load_model(tmp_path / "restored")
    assert restored.num_parameters() == model.num_parameters()


def test_a_world_is_made_by_hand_as_written(tmp_path: Path) -> None:
    (tmp_path / "src").symlink_to(ROOT / "src")
    (tmp_path / "config").symlink_to(ROOT / "config")
    small = {
        "world": "--train 4 --dev 2 --test 2 --testood 2 --extra 2 --calibration 2",
        "choose-templates": "--samples 1",
    }
    geometry = '"hidden_size": 16, "intermediate_size": 32, "heads": 2, "kv_heads": 2, "vocab_size": 700'
    for command in commands("docs/world.md"):
        words = shlex.split(command.replace('"hidden_size": 128, ...', geometry))
        run([*words, *shlex.split(small.get(words[1], ""))], tmp_path)
    assert (tmp_path / "T.yaml").is_file()


def test_what_a_change_of_a_study_costs_is_what_the_page_says() -> None:
    text = (ROOT / "config/config.yaml").read_text(encoding="utf-8")
    page = (ROOT / "docs/study.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| `([^|]+)` \| (`[^|]+`) \| (\d+) \|$", page, flags=re.MULTILINE)
    assert len(rows) == 5
    before = Counter(job_list.jobs(select(demo())))
    for old, new, jobs in rows:
        indent = next(re.match(" *", line)[0] for line in text.splitlines() if old in line)  # type: ignore[index]
        lines = f"\n{indent}".join(re.findall("`([^`]+)`", new))
        assert old in text
        after = Counter(job_list.jobs(select(loading.load(yaml.safe_load(text.replace(old, lines))))))
        assert sum((after - before).values()) == int(jobs), new


def test_the_price_of_the_papers_grid_is_that_of_the_plan(clone: Path) -> None:
    plan = run(["snakemake", "plan", "--cores", "1", "--configfile", "config/paper.yaml"], clone).stdout
    jobs, hours = re.search(r"^total +(\S+) +(\S+) ", plan, flags=re.MULTILINE).groups()  # type: ignore[union-attr]
    assert f"The plan counts {jobs} jobs and {hours} GPU hours." in README


def test_the_figure_of_the_embedded_world_carries_the_sentence() -> None:
    assert demo().notice in " ".join((ROOT / "docs/world.md").read_text(encoding="utf-8").split())
    assert (ROOT / "docs/fig2.png").is_file()


def test_the_files_that_the_pages_name_exist() -> None:
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link]
        for link in links:
            assert (ROOT / page).parent.joinpath(link).exists(), f"{page}: {link}"
        for path in re.findall(r"`((?:config|benchmarks|docs|src|tests)/[\w./-]+\.\w+)", text):
            assert (ROOT / path).is_file(), f"{page}: {path}"


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150
