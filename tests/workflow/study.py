"""A study small enough to run for real in the tests, in a copy of the repository of its own."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
LOG = "run.log"
"""What Snakemake said of its only real run, its debug messages included."""
PARTS = ("Snakefile", "workflow", "scripts", "src", "profiles", "slurm", "config", "envs")
CONFIG: dict = {
    "study": "mini",
    "world": {
        "train": 24, "dev": 2, "test": 8, "testood": 6, "extra": 8, "calibration": 2, "max_exposure": 30,
        "calibration_statements": 20, "extra_questions": 8,
    },
    "models": {
        "tiny": {
            "source": "pretrain",
            "geometry": {
                "layers": 2, "hidden_size": 48, "intermediate_size": 96, "heads": 4, "kv_heads": 4, "vocab_size": 800,
            },
        }
    },
    "probing": {"samples": 4, "max_new_tokens": 8},
    "finetuning": {"learning_rate": 1e-3, "dtype": "float32", "zero_stage": 0, "allow_smaller": True},
    "experiments": {
        "mastery": {"retest": 6},
        "scaling": {"train_sets": ["D0", "mixed"], "scales": [8, 16], "seeds": [0], "shots": 2},
        "divergence": {"train_sets": ["mixed"], "scales": [16], "base": False},
        "concentration": {"train_sets": ["mixed"], "scales": [16]},
        "restoration": {"train_sets": ["mixed"], "scales": [16], "ratios": [5, 20]},
        "blocks": {"train_sets": ["mixed"], "scales": [16], "size": 1},
    },
}  # fmt: skip


def copy_repository(target: Path) -> Path:
    """Copy what a run needs, so that a test may edit the code."""
    for part in PARTS:
        source = REPOSITORY / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / part)
    return target


def copy_run(source: Path, target: Path) -> Path:
    """Copy a finished run with its times and its record of what was run."""
    return Path(shutil.copytree(source, target, symlinks=True, copy_function=shutil.copy2))


def configure(folder: Path, config: dict) -> None:
    """Write the configuration of a run."""
    (folder / "study.yaml").write_text(yaml.safe_dump(config))


def snakemake(folder: Path, *arguments: str, environment: dict[str, str] | None = None, check: bool = True):
    """Run Snakemake in a folder; return the finished process with its output as text."""
    command = [sys.executable, "-m", "snakemake", "--configfile", "study.yaml", "--cores", "2", *arguments]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **(environment or {})}, capture_output=True, text=True, timeout=900
    )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


def planned(folder: Path, *arguments: str) -> Counter[str]:
    """Return the number of jobs of each rule that a dry run plans, target-only rules left out."""
    done = snakemake(folder, "--dry-run", *arguments)
    text = done.stdout + done.stderr
    table = text.split("Job stats:")[-1].split("\n\n")[0] if "Job stats:" in text else ""
    rows = re.findall(r"^(\w+)\s+(\d+)$", table, flags=re.MULTILINE)
    return Counter({rule: int(count) for rule, count in rows if rule not in ("total", "all", "job")})
