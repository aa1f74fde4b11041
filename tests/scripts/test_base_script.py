"""sftlens base on an existing model: a pointer that says what the model is."""

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from model_inputs import GEOMETRY, mastery_options
from script_calls import ok, refused
from sftlens.files import read_json, sha256


def test_a_pointer_names_an_existing_model_of_the_declared_shape(inputs: Path, tmp_path: Path) -> None:
    def base(*options: object, geometry: dict[str, int] = GEOMETRY) -> str:
        return refused("base.py", *options, "--geometry", json.dumps(geometry), "--out", tmp_path / "out")

    assert "`source: path` needs `path`" in base("--source", "path")
    assert "no such model folder" in base("--source", "path", "--path", tmp_path / "gone")
    assert "needs `revision`: a commit" in base("--source", "hub", "--path", "a/b")
    wrong = base("--source", "path", "--path", inputs / "base", geometry=GEOMETRY | {"layers": 3})
    assert "config.json: layers is 2, but models.base.geometry.layers says 3" in wrong
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_a_changed_model_is_named_recorded_and_probed_anew(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(inputs / "base", tmp_path / "model")
    pointer = ["--source", "path", "--path", tmp_path / "model", "--geometry", json.dumps(GEOMETRY)]

    def probe() -> tuple[dict[str, object], float]:
        ok("base.py", *pointer, "--state", tmp_path / "state", "--out", tmp_path / "base")
        options = ["--model", tmp_path / "base" / "base.json", *mastery_options(inputs)[2:]]
        ok("mastery.py", *options, "--state", tmp_path / "state", "--out", tmp_path / "m.parquet")
        return read_json(tmp_path / "m.json")["inputs"], pd.read_parquet(tmp_path / "m.parquet")["hits"].sum()

    first = probe()
    (tmp_path / "model").rename(tmp_path / "moved")
    pointer[3] = tmp_path / "moved"
    assert probe() == first
    assert len(list((tmp_path / "state").glob("mastery-*"))) == 1
    assert "another model" not in capsys.readouterr().err
    weights = tmp_path / "moved" / "model.safetensors"
    tensors = load_file(weights)
    tensors["lm_head.weight"] = torch.zeros_like(tensors["lm_head.weight"])
    save_file(tensors, weights, {"format": "pt"})
    later = weights.stat().st_mtime + 60
    os.utime(weights, (later, later))
    assert probe()[0] != first[0]
    assert f"base at {tmp_path / 'moved'} is another model" in capsys.readouterr().err
    assert len(list((tmp_path / "state").glob("mastery-*"))) == 2
    recorded = read_json(tmp_path / "base" / "base.json")["files"]
    assert recorded["model.safetensors"]["sha256"] == sha256(weights)
