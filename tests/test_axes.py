"""Every axis is a registry: one new file in its package is all it takes, from --help and the schema to a run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from repository import ROOT
from restoration_models import gaussian, saved
from sftlens.errors import ConfigError
from sftlens.restoration import methods
from sftlens.restoration.criteria import CRITERIA

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


def test_an_unknown_name_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no ranking criterion 'relativ'; did you mean 'relative'"):
        CRITERIA.get("relativ")
    with pytest.raises(ConfigError, match=r"no criterion 'interpolate'; did you mean 'interpolation'.*choose one of"):
        methods.chosen("interpolate")
    with pytest.raises(ConfigError):
        methods.chosen("restore")  # the method of all criteria is none of them
