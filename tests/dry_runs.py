"""Planning a study without running it, and the jobs that Snakemake counts."""

import os
import re
import subprocess
import sys
from pathlib import Path

from repository import ROOT


def planned(folder: Path, config: Path | str, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Plan a study in a folder that holds neither results nor data nor models, only config/."""
    if not (folder / "config").exists():
        (folder / "config").symlink_to(ROOT / "config")
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "-n", "--quiet", "rules"]
    environment = {name: value for name, value in os.environ.items() if name != "ENTITY_QUESTIONS_DIR"}
    return subprocess.run(
        [*command, "--directory", str(folder), "--configfile", str(config), *options],
        capture_output=True,
        text=True,
        env={**environment, **variables},
    )


def stats(run: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Return the jobs of each rule from Snakemake's table."""
    assert run.returncode == 0, run.stdout + run.stderr
    table = (run.stdout + run.stderr).split("Job stats:")[-1]
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}
