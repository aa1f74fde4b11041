"""Results folders that are read-only or full, on file systems of their own: one line, nothing half-written or lost."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from probe_tables import facts_table
from script_calls import ok, process
from sftlens.files import write_parquet
from tiny import tiny_model
from workflow.study import CONFIG, configure, copy_repository, snakemake

Mount = Callable[..., Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Return a function that puts a small file system in the place of a folder, or changes its options."""
    mounted: list[Path] = []

    def call(folder: Path, options: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        again = folder in mounted
        command = ["mount", "-t", "tmpfs", "-o", f"remount,{options}" if again else options, "tmpfs", str(folder)]
        if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("mounting a small file system needs root")
        if not again:
            mounted.append(folder)
        return folder

    yield call
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    tiny_model(folder / "model")
    facts = facts_table().assign(bucket="D4")
    write_parquet(folder / "facts.parquet", facts)
    write_parquet(folder / "train.parquet", facts[facts["split"] == "train"])
    return folder


def files_of(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


CALLS = {
    # Room for the claim, not for the weights; no room at all.
    "finetune.py --processes 2 --zero-stage 3": (30_000, ["--train", "train.parquet", "--out", "disk/tuned"]),
    "evaluate.py": (62_000, ["--facts", "facts.parquet", "--out", "disk/answers"]),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_full_disk_is_named_and_room_is_all_it_takes(mount: Mount, inputs: Path, tmp_path: Path, call: str) -> None:
    disk, (script, *more), (used, given) = mount(tmp_path / "disk", "size=64k"), call.split(), CALLS[call]
    for name in ("model", "facts.parquet", "train.parquet"):
        (tmp_path / name).symlink_to(inputs / name)
    (disk / "others").write_bytes(b"." * used)
    arguments = ["--model", "model", *given, "--state", "disk/state", *more]
    done = process(script, *arguments, cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: disk/state/")
    assert last.endswith("No space left on device; free space or choose another folder")
    assert files_of(disk) == {"others"}
    mount(disk, "size=4m")
    done = process(script, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {"model.safetensors", "answers.parquet"} & files_of(disk)


@pytest.mark.parametrize("place", ["--out", "--state"])
def test_a_read_only_folder_is_named(mount: Mount, inputs: Path, tmp_path: Path, place: str) -> None:
    disk = mount(tmp_path / "disk", "ro,size=64k")
    places = {"--out": tmp_path / "out", "--state": tmp_path / "state", place: disk / "here"}
    given = [word for pair in places.items() for word in pair]
    with pytest.raises(SystemExit) as end:
        ok("evaluate.py", "--model", inputs / "model", "--facts", inputs / "facts.parquet", *given)
    message = str(end.value.code)
    assert message.startswith(f"error: {disk}/here") and "\n" not in message
    assert message.endswith("Read-only file system; make it writable or choose another folder")


def test_a_study_says_so_too_and_goes_on_when_it_may(mount: Mount, tmp_path: Path) -> None:
    folder = copy_repository(tmp_path / "repository")
    configure(folder, CONFIG)
    results = mount(folder / "results", "ro,size=64k")
    run = snakemake(folder, "--until", "facts", check=False)
    assert run.returncode == 1 and "Traceback" not in run.stdout + run.stderr
    message = "error: results/mini: Read-only file system; make it writable or choose another folder"
    assert message in run.stderr.splitlines()
    mount(results, "rw,size=64k")
    run = snakemake(folder, "--until", "facts", check=False)
    assert run.returncode == 1 and "No space left on device; free space" in run.stdout + run.stderr
    assert "Traceback" not in run.stdout + run.stderr
    assert not list(results.rglob("facts.parquet")) and not list(results.rglob("corpus.txt"))
    mount(results, "rw,size=9m")
    snakemake(folder, "--until", "facts")
    assert list(results.rglob("facts.parquet"))
