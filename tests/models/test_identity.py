"""A model is its content: whatever else a folder says about its files, and however they came there."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sftlens import files
from sftlens.files import write_json
from sftlens.models import identity
from tiny import tiny_model

WEIGHTS = "model.safetensors"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder, in which the hash of every file is remembered as if it were large."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(files, "REMEMBERED_BYTES", 0)
    monkeypatch.setattr(files, "SETTLED_SECONDS", -1.0)
    return tmp_path / "cache"


@pytest.mark.parametrize("how", [["cp", "-p"], ["rsync", "-a"], ["tar"]])
def test_weights_exchanged_under_old_times_are_another_model(tmp_path: Path, cache: Path, how: list[str]) -> None:
    if not shutil.which(how[0]):
        pytest.skip(f"{how[0]} is not installed")
    for seed, name in enumerate(("model", "other")):
        tiny_model(tmp_path / name, seed=seed)
    # As if both had been made at one time long ago: size and modification time are those of before.
    for name in ("model", "other"):
        os.utime(tmp_path / name / WEIGHTS, (1.6e9, 1.6e9))
    identity.write_manifest(tmp_path / "model")
    write_json(tmp_path / "base.json", {"path": "model", "files": identity.describe(tmp_path / "model")})
    before, other = identity.identity(tmp_path / "model"), identity.identity(tmp_path / "other")
    assert identity.identity(tmp_path / "base.json") == before != other
    source, target = tmp_path / "other" / WEIGHTS, tmp_path / "model" / WEIGHTS
    if how == ["tar"]:
        pack = ["tar", "-C", source.parent, "-cf", tmp_path / "weights.tar", WEIGHTS]
        for command in (pack, ["tar", "-C", target.parent, "-xpf", tmp_path / "weights.tar"]):
            subprocess.run(command, check=True)
    else:
        subprocess.run([*how, source, target], check=True)
    assert target.stat().st_mtime == 1.6e9
    assert identity.identity(tmp_path / "model") == identity.identity(tmp_path / "base.json") == other


def test_a_hash_is_remembered_until_the_file_changes(tmp_path: Path, cache: Path) -> None:
    tiny_model(tmp_path / "model")
    wanted = identity.identity(tmp_path / "model")
    remembered = list((cache / "sftlens" / "sha256").iterdir())
    assert len(remembered) == len(identity.describe(tmp_path / "model"))
    size = f"{(tmp_path / 'model' / WEIGHTS).stat().st_size:x}"
    [weights] = [path for path in remembered if path.name.split("-")[2] == size]
    weights.write_text("0" * 64)
    assert identity.describe(tmp_path / "model")[WEIGHTS]["sha256"] == "0" * 64
    # A damaged memory is none.
    weights.write_text("no hash")
    assert identity.identity(tmp_path / "model") == wanted
    weights.write_text("0" * 64)
    with (tmp_path / "model" / WEIGHTS).open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\7")
    assert identity.describe(tmp_path / "model")[WEIGHTS]["sha256"] not in ("0" * 64, wanted)


def test_a_file_that_has_just_changed_is_not_remembered(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SETTLED_SECONDS", 60.0)
    tiny_model(tmp_path / "model")
    identity.identity(tmp_path / "model")
    assert not cache.exists()


def test_what_a_folder_says_of_its_files_is_not_believed(tmp_path: Path) -> None:
    tiny_model(tmp_path / "model")
    wanted = identity.identity(tmp_path / "model")
    for listed in ({WEIGHTS: {"bytes": 1, "sha256": "0" * 64}}, ["a"], {"../x": {}}):
        write_json(tmp_path / "model" / "sftlens.json", {"files": listed})
        assert identity.identity(tmp_path / "model") == wanted
