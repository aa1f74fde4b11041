"""The README's commands do what it says: every stage by hand, one after another."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import yaml

from entity_questions_files import data_set
from repository import ROOT
from sftlens.config import loading
from sftlens.config.stages.data import FactsSettings
from sftlens.dag import targets
from sftlens.data import facts
from sftlens.models import checkpoints
from tiny import tiny_model, tiny_tokenizer

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks() -> list[str]:
    return re.findall(r"^```\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_every_stage_runs_by_hand_as_written(tmp_path: Path) -> None:
    commands = next(block for block in blocks() if "scripts/facts.py" in block).splitlines()
    questions = data_set(tmp_path / "questions", count=2)
    texts = facts.load(FactsSettings(source="entity_questions", path=str(questions)))["question"].tolist()
    model = tiny_model(tmp_path / "model")
    checkpoints.save_model(model, tiny_tokenizer(texts), tmp_path / "model")
    # Short templates, a training set that a random model has, and few examples; else the words of the README.
    few = {
        r: {"templates": [f"{{subject}} has {r}"]} for r in yaml.safe_load((ROOT / "config/relations.yaml").read_text())
    }
    (tmp_path / "relations.yaml").write_text(yaml.safe_dump(few))
    changed = {
        "--entity-questions DIR": "--entity-questions questions",
        " DIR ": " model ",
        "config/relations.yaml": "relations.yaml",
        "D2": "mixed",
        "--scale 240": "--scale 8",
    }
    for command in commands:
        for old, new in changed.items():
            command = command.replace(old, new)
        words = shlex.split(command, comments=True)
        words = [sys.executable, str(ROOT / words[1]), *words[2:]]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, command + done.stderr
    for name in ("answers/answers.parquet", "answers/summary.json", "kl/kl.parquet", "changes/tensors.parquet"):
        assert (tmp_path / name).is_file(), name
    restored = checkpoints.load_model(tmp_path / "restored")
    assert restored.num_parameters() == model.num_parameters()


def test_the_targets_it_names_are_those_there_are() -> None:
    line = next(line for line in README.splitlines() if "one target" in line)
    named = line.split("one target:")[1].split()
    assert named == targets.TARGETS.names()
    assert set(targets.wanted(loading.load_file(ROOT / "config/config.yaml"))) == set(named) - {"table11"}


def test_the_figure_carries_the_sentence() -> None:
    study = loading.load_file(ROOT / "config/config.yaml")
    assert study.notice in " ".join(README.split())
    assert (ROOT / "docs/fig2.png").is_file()


def test_the_files_it_names_exist() -> None:
    named = re.findall(r"\]\(((?:docs|config)/[\w./-]+|CITATION\.cff)\)|`(config/[\w./-]+\.yaml)`", README)
    for path in {first or second for first, second in named}:
        assert (ROOT / path).is_file(), path
