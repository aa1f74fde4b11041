"""Every axis is a registry: one new file in its package is all it takes, from --help and the schema to a run."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from repository import ROOT
from restoration_models import gaussian, saved
from tiny import tiny_model, tiny_tokenizer

CRITERION = '''
"""Elements by their place, the last first."""

from sftlens.restoration.criteria import CRITERIA, Criterion


def keys(settings, name, p, s, start):
    import torch

    return torch.arange(start, start + len(p), dtype=torch.int32)


CRITERIA.add(Criterion("lastfirst", "By place, the last element first", "nowhere", keys))
'''
METHOD = '''
"""The mean of both models."""

from sftlens.restoration.methods import METHODS, PostHoc


def make(restorer, reverted, settings):
    from sftlens.restoration.apply import Method

    class Halfway(Method):
        CARD = "halfway, {ratio:g} %"
        facts = {"ratio": restorer.cut.ratio}

        def apply(self, piece):
            return (piece.base + piece.finetuned) / 2

    return Halfway(restorer.pair)


METHODS.add(PostHoc("halfway", "The mean of both models", "nowhere", make, matched="absolute", against="as much"))
'''

STRATEGY = '''
"""Only the output layer, towards zero, on the first half of the rows."""

from sftlens.settings import Settings
from sftlens.strategies import STRATEGIES, Strategy


class HeadSettings(Settings):
    """Settings of headonly."""

    pull: float = 0.0
    """Weight of the sum of squares in the loss."""


class HeadOnly(Strategy):
    name = "headonly"
    description = "Only the output layer"
    reference = "nowhere"
    settings_class = HeadSettings

    def rows(self, table):
        return table.head(len(table) // 2)

    def prepare(self, model):
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("lm_head" in name)

    def penalty(self, model):
        return self.settings.pull * model.lm_head.weight.square().sum()

    def finished(self, name, weight):
        return weight * 2 if "lm_head" in name else weight


STRATEGIES.add(HeadOnly)
'''

DOUBT = '''
"""Does the seed matter?"""

from sftlens.config.axes import Axes
from sftlens.doubts import DOUBTS, Doubt


class Luck(Axes):
    """One training set, several seeds."""


DOUBTS.add(Doubt(
    "luck", 50, "Does the seed matter?", "accuracy", "with luck", "without it", "Luck has no limit.", Luck,
    lambda answers: [], stages=("evaluate", "divergence"),
))
'''


class Copy:
    """A copy of the package and its scripts with one more file, run as a user runs it."""

    def __init__(self, root: Path, file: str, text: str) -> None:
        self.root = root / "copy"
        for name in ("src", "scripts", "config"):
            shutil.copytree(ROOT / name, self.root / name, ignore=shutil.ignore_patterns("__pycache__"))
        (self.root / "src/sftlens" / file).write_text(text)

    def run(self, *words: object) -> str:
        environment = {**os.environ, "PYTHONPATH": str(self.root / "src")}
        command = [sys.executable, *map(str, words)]
        done = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def schema(self) -> str:
        return self.run("-c", "from sftlens.config import documentation; print(documentation.schema())")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    base, finetuned = gaussian(3, torch.float32)
    return saved(tmp_path / "base", base).folder, saved(tmp_path / "ft", finetuned).folder


def choices(schema: str, section: str) -> list[str]:
    found: list[str] = json.loads(schema)["$defs"][section]["properties"]["criteria"]["items"]["enum"]
    return found


def test_a_criterion_is_one_file(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    copy = Copy(tmp_path, "restoration/criteria/lastfirst.py", CRITERION)
    for script in ("restore.py", "changes.py", "repair.py"):
        assert "lastfirst" in copy.run(f"scripts/{script}", "--help")
    schema = copy.schema()
    assert all("lastfirst" in choices(schema, name) for name in ("Restoration", "Concentration", "RepairStudy"))
    copy.run("scripts/restore.py", *pair, "--ratio", 50, "--criterion", "lastfirst", "--out", tmp_path / "out")
    base, tuned, made = (load_file(folder / "model.safetensors") for folder in (*pair, tmp_path / "out"))
    name = "model.layers.0.self_attn.q_proj.weight"
    cut = 13 * 7 - int((made[name] == base[name]).flatten().flip(0).int().cumprod(0).sum())
    assert 0 < cut < 13 * 7 and torch.equal(made[name].flatten()[:cut], tuned[name].flatten()[:cut])
    assert "By place, the last element first" in (tmp_path / "out/README.md").read_text()


def test_a_post_hoc_method_is_one_file(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    copy = Copy(tmp_path, "restoration/methods/halfway.py", METHOD)
    assert "halfway" in copy.run("scripts/restore.py", "--help")
    schema = copy.schema()
    assert "halfway" in choices(schema, "Restoration") and "halfway" not in choices(schema, "Concentration")
    copy.run("scripts/restore.py", *pair, "--ratio", 50, "--criterion", "halfway", "--out", tmp_path / "out")
    base, tuned, made = (load_file(folder / "model.safetensors") for folder in (*pair, tmp_path / "out"))
    name = "model.layers.10.mlp.up_proj.weight"
    assert torch.equal(made[name], (base[name] + tuned[name]) / 2)
    assert torch.equal(made["lm_head.weight"], tuned["lm_head.weight"])


def test_a_strategy_is_one_file(tmp_path: Path) -> None:
    copy = Copy(tmp_path, "strategies/headonly.py", STRATEGY)
    said = copy.run("scripts/finetune.py", "--help")
    assert "headonly: Only the output layer" in " ".join(said.split()) and "headonly: pull" in " ".join(said.split())
    schema = json.loads(copy.schema())["$defs"]
    assert "headonly" in schema["Scaling"]["properties"]["strategies"]["items"]["enum"]
    assert "pull" in schema["HeadSettings"]["properties"]
    demo = {
        "strategies": {"headonly": {"pull": 0.5}},
        "experiments": {"scaling": {"scales": [60], "strategies": ["headonly"]}},
    }
    (copy.root / "asked.py").write_text(f"""
from pathlib import Path
from types import SimpleNamespace
from sftlens.config.loading import load
from sftlens.dag.jobs import Jobs
from sftlens.yaml_file import read_mapping
from sftlens.errors import ConfigError
jobs = Jobs(load(read_mapping(Path("config/config.yaml"), ConfigError) | {demo!r}))
cell = next(p.cell for p in jobs.products if p.stage == "finetune")
assert cell.path.endswith("/D0/n60/seed0/headonly"), cell.path
wildcards = SimpleNamespace(**vars(cell))
assert jobs.model(wildcards).endswith("headonly/checkpoint")
assert "train" in jobs.evaluate_inputs(wildcards)
print(*jobs.finetune_options(wildcards))
""")
    assert '--strategy headonly --strategy-settings {"pull": 0.5}' in copy.run("asked.py")
    tiny_model(tmp_path / "base")
    tiny_tokenizer().save_pretrained(tmp_path / "base")
    rows = [{"question": f"Where was Ada {name} born?", "object": "Port Vale"} for name in "abcdefgh"]
    pd.DataFrame(rows).to_csv(tmp_path / "train.csv", index=False)
    given = ["--model", tmp_path / "base", "--train", tmp_path / "train.csv", "--learning-rate", "0.01"]
    for pull in (0, 5):
        own = ["--strategy", "headonly", "--strategy-settings", f"pull={pull}", "--out", tmp_path / f"out{pull}"]
        copy.run("scripts/finetune.py", *given, "--dtype", "float32", "--zero-stage", 0, *own)
    base, loose, pulled = (load_file(tmp_path / name / "model.safetensors") for name in ("base", "out0", "out5"))
    assert {name for name in base if not torch.equal(base[name].float(), loose[name])} == {"lm_head.weight"}
    assert not torch.equal(loose["lm_head.weight"], pulled["lm_head.weight"])
    assert (loose["lm_head.weight"] / 2 - base["lm_head.weight"]).abs().max() < 0.02
    summary = json.loads((tmp_path / "out5.json").read_text())
    assert summary["examples"] == 4 and summary["settings"]["strategy_settings"] == {"pull": 5}


def test_a_doubt_is_one_file(tmp_path: Path) -> None:
    copy = Copy(tmp_path, "doubts/luck.py", DOUBT)
    schema = json.loads(copy.schema())["$defs"]
    assert "luck" in schema["Experiments"]["properties"] and "train_sets" in schema["Luck"]["properties"]
    assert "luck" in copy.run("scripts/worlds.py", "--help")
    demo = {"experiments": {"luck": {"train_sets": ["D2"], "scales": [60], "seeds": [0, 1]}}}
    (copy.root / "asked.py").write_text(f"""
from pathlib import Path
from sftlens.config.loading import load
from sftlens.dag.jobs import Jobs
from sftlens.errors import ConfigError
from sftlens.yaml_file import read_mapping
jobs = Jobs(load(read_mapping(Path("config/config.yaml"), ConfigError) | {demo!r}))
print(*jobs.target("luck"), *(p.path for p in jobs.targets["luck"]))
""")
    said = copy.run("asked.py").split()
    assert {"results/demo/figures/luck.svg", "results/demo/tables/luck.csv", "results/demo/tables/luck.md"} <= {*said}
    cell = "tiny/D2/n60/seed1/full"
    assert {f"{cell}/finetune.json", f"{cell}/evaluate/summary.json", f"{cell}/divergence/summary.json"} <= {*said}


def test_a_task_is_one_file(tmp_path: Path) -> None:
    page = (ROOT / "docs/tasks.md").read_text(encoding="utf-8")
    [text] = re.findall(r"^```python\n# src/sftlens/tasks/capitals.py\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    copy = Copy(tmp_path, "tasks/capitals.py", text)
    for script in ("finetune.py", "evaluate.py", "restore.py"):
        assert "capitals" in copy.run(f"scripts/{script}", "--help")
    schema = json.loads(copy.schema())["$defs"]
    assert "capitals" in schema["FinetuneSettings"]["properties"]["task"]["enum"]
    (copy.root / "asked.py").write_text("""
from pathlib import Path
from types import SimpleNamespace
from sftlens.config.loading import load
from sftlens.dag.jobs import Jobs
from sftlens.errors import ConfigError
from sftlens.yaml_file import read_mapping
own = {"tasks": {"capitals": {"train": "a.jsonl", "test": "b.jsonl"}}}
own |= {"experiments": {"scaling": {"scales": [8], "train_sets": ["capitals"]}}}
jobs = Jobs(load(read_mapping(Path("config/config.yaml"), ConfigError) | own))
cell = SimpleNamespace(**vars(next(p.cell for p in jobs.products if p.stage == "finetune")))
print(*jobs.sets.options(cell), *jobs.finetune_options(cell), *jobs.evaluate_options(cell))
""")
    said = copy.run("asked.py")
    assert (
        "--examples a.jsonl" in said and "--task capitals" in said and '"task": "capitals", "file": "b.jsonl"' in said
    )

    tiny_model(tmp_path / "base")
    tiny_tokenizer().save_pretrained(tmp_path / "base")
    rows = [{"text": text, "capitals": text.upper()} for text in "ab"]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = ["--model", tmp_path / "base", "--train", tmp_path / "rows.jsonl", "--task", "capitals", "--epochs", 40]
    given += ["--learning-rate", "0.02", "--dtype", "float32", "--zero-stage", 0]
    copy.run("scripts/finetune.py", *given, "--out", tmp_path / "tuned")
    (tmp_path / "facts.csv").write_text("question,answer\nWhere?,Here\n")
    asked = ["--facts", tmp_path / "facts.csv", "--task-test", "task=capitals", f"file={tmp_path / 'rows.jsonl'}"]
    copy.run("scripts/evaluate.py", "--model", tmp_path / "tuned", *asked, "--out", tmp_path / "asked")
    metrics = json.loads((tmp_path / "asked/summary.json").read_text())["metrics"]
    found = [
        m["value"] for m in metrics if (m["split"], m["metric"], m["bucket"]) == ("capitals", "in_capitals", "all")
    ]
    assert found == [1.0]
