"""The short form of the fuzzer: every program with valid inputs, then some with inputs that are not quite right."""

import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).with_name("run.py")


def test_whatever_a_program_is_given_it_works_or_says_why_not_in_one_line(tmp_path: Path) -> None:
    # On a busy machine seconds are short: nothing here depends on how fast it is.
    command = [sys.executable, str(RUN), "--seed", "0", "--cases", "64", "--limit", "300", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "seed 0: 64 cases" in done.stdout
