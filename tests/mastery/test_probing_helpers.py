"""Several processes that probe one model side by side: the same bytes, whoever draws what, and whoever dies."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from probe_tables import SENTENCES, facts_table
from probed_models import make, options
from script_calls import SCRIPTS, ok, process, refused
from sftlens.config.stages.mastery import ProbingSettings
from sftlens.errors import LaunchError
from sftlens.files import read_json, sha256, write_parquet
from sftlens.mastery import probe_shards, probing
from sftlens.models import checkpoints, identity
from sftlens.runtime.launch import share_threads
from sftlens.runtime.launch.devices import shares

NAMES = ("m.parquet", "m-texts.parquet")
TWO = ["--processes", 2, "--gpus", 0]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def alone(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Hashes of what one process writes."""
    out = tmp_path_factory.mktemp("alone")
    ok("mastery.py", *options(inputs, out / NAMES[0], "--keep-texts"))
    return hashes(out)


def hashes(out: Path) -> dict[str, str]:
    return {name: sha256(out / name) for name in NAMES}


def asked(inputs: Path, out: Path) -> list[object]:
    return options(inputs, out / NAMES[0], "--keep-texts", "--state", out / "state", *TWO)


def helper_of(starter: subprocess.Popen[str]) -> psutil.Process:
    while starter.poll() is None:
        for child in psutil.Process(starter.pid).children():
            if "--helper" in child.cmdline():
                return child
        time.sleep(0.01)
    raise AssertionError(starter.communicate()[1])


def start(arguments: list[object]) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPTS / "mastery.py"), *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_what_a_helper_has_drawn_is_not_drawn_again(inputs: Path, alone: dict[str, str], tmp_path: Path) -> None:
    told = ["--identity", identity.identity(inputs / "base"), "--compute-dtype", "stored"]
    ok("mastery.py", *asked(inputs, tmp_path), *told, "--helper", 1)
    assert not (tmp_path / NAMES[0]).exists()
    ok("mastery.py", *asked(inputs, tmp_path))
    assert hashes(tmp_path) == alone
    run = read_json(tmp_path / "m.json")["run"]
    assert run["prompts_drawn"] == 0 < run["prompts"]


def test_each_begins_with_shards_of_its_own(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_shards, "SHARD_FACTS", 3)
    monkeypatch.setattr(probe_shards, "GROUP_FACTS", 1)
    loaded = checkpoints.load_model(inputs / "base"), checkpoints.load_tokenizer(inputs / "base")
    settings = ProbingSettings(samples=2, max_new_tokens=2)
    prober = probing.Prober(lambda: loaded, {"model": "m"}, SENTENCES, settings, tmp_path / "state")
    measured: list[str] = []
    real = probe_shards.probe_shard

    def noted(facts: pd.DataFrame, *rest: Any) -> probe_shards.ShardResult:
        measured.append(facts["fact_id"].iloc[0])
        return real(facts, *rest)

    monkeypatch.setattr(probe_shards, "probe_shard", noted)
    orders = []
    for worker in (probing.ALONE, probing.Worker(0, 2), probing.Worker(1, 2)):
        measured.clear()
        probing.probe(facts_table(("train", "test"), 8), prober, worker=worker)
        orders.append(list(measured))
    whole, first, second = orders
    assert len(whole) > 8
    # Then those of the other one, from the end, where it comes last.
    assert first == whole[0::2] + whole[1::2][::-1] and second == whole[1::2] + whole[0::2][::-1]


def test_a_helper_that_dies_changes_nothing(inputs: Path, alone: dict[str, str], tmp_path: Path) -> None:
    running = start(asked(inputs, tmp_path))
    helper_of(running).kill()
    _, errors = running.communicate(timeout=120)
    assert running.returncode == 0 and hashes(tmp_path) == alone
    assert "helper 1 ended with status -9" in errors


def test_a_helper_ends_with_its_starter(inputs: Path, tmp_path: Path) -> None:
    running = start(asked(inputs, tmp_path))
    helper = helper_of(running)
    running.kill()
    running.communicate()
    helper.wait(timeout=30)
    # It was still importing torch.
    assert not (tmp_path / "state/probe-shards").exists()


def test_what_goes_wrong_is_told_once(inputs: Path, tmp_path: Path) -> None:
    # A prompt that does not fit the model's context is found by either process.
    facts = facts_table(("train",)).assign(subject=["Oslo " * 2000] * 6)
    write_parquet(tmp_path / "facts.parquet", facts)
    given = options(inputs, tmp_path / NAMES[0], *TWO, facts=tmp_path / "facts.parquet")
    done = process("mastery.py", *given, cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.count("error: ") == 1, done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / NAMES[0]).exists()


def test_processes_share_gpus_evenly_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,GPU-7f,3")
    assert shares(2) == ["0,1", "GPU-7f,3"]
    with pytest.raises(LaunchError, match="4 GPUs cannot be shared evenly by 3 processes"):
        shares(3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert shares(2) == ["", ""]


def test_cpus_are_shared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, given in (("OMP_NUM_THREADS", "6"), ("MKL_NUM_THREADS", "1")):
        monkeypatch.setenv(name, given)
    share_threads(2)
    assert (os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"]) == ("3", "1")


def test_a_device_is_for_one_process(inputs: Path, tmp_path: Path) -> None:
    message = refused("mastery.py", *options(inputs, tmp_path / NAMES[0], *TWO, "--device", "cpu"))
    assert "--processes takes no --device" in message
