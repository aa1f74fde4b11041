"""`snakemake --logger sftlens`: a line for each finished job, with its cell, and everything that went wrong."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SNAKEFILE = """
rule all:
    input: expand("{model}/{train_set}/n{scale}/seed{seed}.txt", model="tiny", train_set="D3", scale=60, seed=[0, 1])
rule finetune:
    output: "{model}/{train_set}/n{scale}/seed{seed}.txt"
    shell: "touch {output}"
rule restore:
    output: "{model}-{criterion}-{ratio}.txt"
    shell: "exit 3"
"""


@pytest.fixture
def snakemake(tmp_path: Path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "snakemake", "--cores", "1", *arguments, "--logger", "sftlens"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)

    return run


def test_each_finished_job_is_one_line(snakemake) -> None:
    ended = snakemake()
    assert ended.returncode == 0, ended.stderr
    lines = [line for line in ended.stderr.splitlines() if " done, " in line]
    assert [re.sub(r"seed\d", "seedN", line) for line in lines[:2]] == [
        "tiny/D3/n60/seedN finetune done, 1 of 3",
        "tiny/D3/n60/seedN finetune done, 2 of 3",
    ]
    assert lines[2] == "all done, 3 of 3"
    assert "Finished jobid" not in ended.stderr and "Select jobs" not in ended.stderr
    assert "Complete log" in ended.stderr
    assert "Nothing to be done" in snakemake().stderr


def test_a_job_that_fails_is_told_by_snakemake(snakemake) -> None:
    ended = snakemake("tiny-relative-20.txt")
    assert ended.returncode == 1
    assert "Error in rule restore" in ended.stderr and " done, " not in ended.stderr
