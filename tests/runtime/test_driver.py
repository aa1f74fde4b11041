"""A Snakemake that was killed needs not be unlocked by hand, and one that lives is never unlocked."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from repository import ROOT
from sftlens.runtime import driver


def locked(folder: Path) -> None:
    (folder / driver.LOCKS).mkdir(parents=True, exist_ok=True)
    (folder / driver.LOCKS / "0.output.lock").write_text("results/x\n")


def test_only_a_dead_driver_of_this_machine_was_killed(tmp_path: Path) -> None:
    assert not driver.was_killed(tmp_path)
    held = driver.hold(tmp_path)
    assert held
    assert driver.hold(tmp_path) is None
    assert not driver.was_killed(tmp_path)
    locked(tmp_path)
    assert not driver.was_killed(tmp_path)
    held.close()
    assert driver.was_killed(tmp_path)
    (tmp_path / driver.PLACE).write_text(f"not {socket.gethostname()}")
    assert not driver.was_killed(tmp_path)
    (tmp_path / driver.PLACE).unlink()
    assert not driver.was_killed(tmp_path)  # one of an earlier version, which may live


def test_the_same_command_goes_on_after_its_driver_was_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sftlens", "study", "--cores", "1", "--until", "facts", "--quiet", "rules"]
    command += ["--configfile", str(ROOT / "config" / "config.yaml")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    deadline = time.monotonic() + 120
    while not any((tmp_path / driver.LOCKS).glob("*")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    assert not driver.was_killed(tmp_path)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert driver.was_killed(tmp_path)
    again = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "study: the Snakemake that ran here before was killed; its lock is taken away" in again.stderr
    assert list(tmp_path.glob("results/facts/**/facts.parquet")) or list(tmp_path.rglob("facts*.parquet"))
    assert not any((tmp_path / driver.LOCKS).glob("*"))
