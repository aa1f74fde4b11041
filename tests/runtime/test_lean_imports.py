"""Postponing what jobs do not use changes nothing but the time: results, names, and the postponed things themselves."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tiny
from repository import ROOT
from sftlens.runtime import lean_imports

COMPILED = """
import sys
from sftlens import lean_imports, postponed_modules
assert lean_imports.install()
import torch
assert postponed_modules.is_postponed(sys.modules[lean_imports.META_KERNELS])
counted = torch.compile(lambda x: torch.histc(x, bins=2), backend="eager", fullgraph=True)
assert counted(torch.tensor([0.0, 0.1, 1.0])).tolist() == [2, 1]
"""


def start_up(mode: str, folder: Path) -> dict[str, Any]:
    """Return what tests/start_up.py finds in a process of its own."""
    command = [sys.executable, str(ROOT / "tests/start_up.py"), mode, str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("model")
    tiny.tiny_model(folder)
    return {mode: start_up(mode, folder) for mode in ("plain", "lean")}


@pytest.mark.parametrize("what", ["texts", "logits", "weight", "files"])
def test_results_are_the_same(found, what):
    assert found["lean"]["found"][what] == found["plain"]["found"][what]


@pytest.mark.parametrize("what", ["compiled", "disabled", "blocks", "config", "assigned", "same", "shape", "seeded"])
def test_what_was_postponed_works_when_it_is_used(found, what):
    assert found["lean"]["found"][what] == found["plain"]["found"][what]


def test_the_compiler_finds_kernels_that_waited():
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run([sys.executable, "-c", COMPILED], check=True, env=environment, timeout=120)


def test_operators_of_torch_are_registered_from_the_same_places(found):
    assert len(found["plain"]["found"]["registered"]) > 50
    assert found["lean"]["found"]["registered"] == found["plain"]["found"]["registered"]


@pytest.mark.parametrize("what", ["names", "places", "listed"])
def test_transformers_has_the_same_names(found, what):
    assert found["lean"]["found"][what] == found["plain"]["found"][what]


def test_loading_answering_training_and_saving_need_nothing_of_it(found):
    early = found["lean"]["early"]
    unused = {"torch._dynamo", "torch.fx.experimental.symbolic_shapes", "scipy.optimize"}
    unused |= {"transformers.distributed.tensor_parallel", "torch._meta_registrations"}
    assert unused <= set(early["waiting"])
    assert not early["all"]


@pytest.mark.parametrize("module", lean_imports.postponed())
def test_every_name_in_the_table_exists(module):
    lent = lean_imports.postponed()[module]
    real = importlib.import_module(module)
    missing = [name for name in {*lent.names, *lent.exceptions, *lent.substitutes} if not hasattr(real, name)]
    assert not missing
    assert all(issubclass(getattr(real, name), Exception) for name in lent.exceptions)


@pytest.mark.parametrize("package", lean_imports.VERSIONS)
def test_with_another_version_nothing_is_postponed(monkeypatch, package):
    before = list(sys.meta_path)
    monkeypatch.setitem(lean_imports.VERSIONS, package, "0.1")
    assert not lean_imports.install()
    assert sys.meta_path == before


def test_the_table_is_for_the_pinned_versions():
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert {f"{package}=={version}" for package, version in lean_imports.VERSIONS.items()} <= set(constraints)
