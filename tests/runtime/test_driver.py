"""A Snakemake that was killed needs not be unlocked by hand, and one that lives is never unlocked."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from repository import ROOT
from sftlens.runtime import driver


def lock(folder: Path) -> None:
    (folder / driver.LOCKS).mkdir(parents=True, exist_ok=True)
    (folder / driver.LOCKS / "0.output.lock").write_text("results/x\n")


def unlock(folder: Path) -> None:
    shutil.rmtree(folder / driver.LOCKS)


def was_killed(folder: Path) -> bool:
    with driver.was_killed(folder) as killed:
        if killed:  # meanwhile nobody else is told so, nor begins
            with driver.was_killed(folder) as twice:
                assert not twice and driver.hold(folder) is None
        return killed


def test_only_a_dead_driver_of_this_machine_was_killed(tmp_path: Path) -> None:
    assert not was_killed(tmp_path)
    held = driver.hold(tmp_path)
    assert held
    assert driver.hold(tmp_path) is None
    assert not was_killed(tmp_path)
    lock(tmp_path)
    assert not was_killed(tmp_path)
    unlock(tmp_path)
    driver._leave(tmp_path, held)
    held.close()
    lock(tmp_path)
    assert not was_killed(tmp_path)  # it ended by itself
    unlock(tmp_path)
    held = driver.hold(tmp_path)
    assert held
    lock(tmp_path)
    held.close()
    assert was_killed(tmp_path)
    refused = driver.hold(tmp_path)  # by the locks of the dead one, as a bare `snakemake` is
    assert refused
    driver._leave(tmp_path, refused)
    refused.close()
    assert was_killed(tmp_path)
    elsewhere = f"not {socket.gethostname()}"
    (tmp_path / driver.PLACE).write_text(elsewhere)
    assert not was_killed(tmp_path)
    refused = driver.hold(tmp_path)  # by the locks of a driver elsewhere, which may live
    assert refused and (tmp_path / driver.PLACE).read_text() == elsewhere
    refused.close()
    (tmp_path / driver.PLACE).unlink()
    assert not was_killed(tmp_path)  # one of an earlier version, which may live


@pytest.mark.parametrize("name", ["plain", "x {0} {b}"])
def test_the_same_command_goes_on_after_its_driver_was_killed(tmp_path: Path, name: str) -> None:
    tmp_path = tmp_path / name
    tmp_path.mkdir()
    command = [sys.executable, "-m", "sftlens", "study", "--cores", "1", "--until", "facts", "--quiet", "rules"]
    command += ["--configfile", str(ROOT / "config" / "config.yaml")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    deadline = time.monotonic() + 120
    while not driver.locked(tmp_path) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    assert not was_killed(tmp_path)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert was_killed(tmp_path)
    # A bare Snakemake is refused, and changes nothing.
    bare = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), *command[4:]]
    refused = subprocess.run(bare, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    said = refused.stdout + refused.stderr
    assert refused.returncode and ("cannot be locked" if name == "plain" else "add --persistence-backend db") in said
    assert "Traceback" not in said and was_killed(tmp_path)
    again = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "study: the Snakemake that ran here before was killed; its lock is taken away" in again.stderr
    assert list(tmp_path.glob("results/facts/**/facts.parquet")) or list(tmp_path.rglob("facts*.parquet"))
    assert not driver.locked(tmp_path) and not was_killed(tmp_path)
