"""What planning costs: `snakemake -n` of the paper's grid, and of larger ones, against a fixed loop in the same run.

  python benchmarks/planning.py                       the paper's grid; then 2 and 8 models, each in every experiment
  python benchmarks/planning.py --models 5 50         (50 models: 60,000 jobs, 3 GB, minutes)

Seconds are CPU seconds. The loop is run beside each plan, so that a ratio means the same on a busy machine and on
another one. `of sftlens` is the share of its functions and modules, with all they call, in a run under cProfile.
"""

import argparse
import pstats
import re
import resource
import subprocess
import sys
import tempfile
import time
from math import log
from pathlib import Path

import _common
import yaml

ROOT = Path(__file__).resolve().parent.parent
PAPER = ROOT / "config" / "paper.yaml"
STEPS = 25_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, nargs=2, default=[2, 8], help="sizes that the growth is taken from")
    parser.add_argument("--config", type=Path, default=PAPER, help="study that is planned, and grown")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(f"a fixed loop of {STEPS:,} steps: 1.0; {_common.machine()}")
        report("the study as it is", args.config)
        (jobs, small), (more, large) = (
            report(f"{count} models", grown(args.config, count, Path(folder))) for count in args.models
        )
        exponent = log(large / small) / log(more / jobs)
        print(f"growth: {more / jobs:.1f} times the jobs, {large / small:.1f} times the loops: jobs ** {exponent:.2f}")
        profile = Path(folder) / "profile"
        plan(args.config, "-m", "cProfile", "-o", str(profile))
        print(f"of sftlens: {100 * own_share(profile):.0f} %")


def report(name: str, config: Path) -> tuple[int, float]:
    """Print a line; return how many jobs a study has, and how many loops planning them takes."""
    jobs, seconds = plan(config)
    ratio = seconds / loop()
    print(f"  {name}: {jobs:,} jobs, {seconds:.1f} CPU s = {ratio:.1f} loops, {1000 * seconds / jobs:.2f} ms a job")
    return jobs, ratio


def plan(config: Path, *python: str) -> tuple[int, float]:
    """Plan a study in an empty folder; return its jobs and the CPU seconds."""
    with tempfile.TemporaryDirectory() as empty:
        where = ["-s", str(ROOT / "Snakefile"), "-d", empty, "--configfile", str(config.resolve())]
        for name in ("config", "profiles"):
            (Path(empty) / name).symlink_to(ROOT / name)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, *python, "-m", "snakemake", "-n", "--quiet", "all", *where]
        done = subprocess.run(command, cwd=empty, capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = re.search(r"^total +(\d+)", done.stdout + done.stderr, re.MULTILINE)
    if not found:
        sys.exit(done.stderr)
    return int(found[1]), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def loop() -> float:
    """Return the CPU seconds of a fixed piece of work in pure Python."""
    start, total = time.process_time(), 0
    for step in range(STEPS):
        total += step
    return time.process_time() - start


def grown(config: Path, models: int, folder: Path) -> Path:
    """Write a study with so many models, each in every experiment, like the first model of another one."""
    study = yaml.safe_load(config.read_text(encoding="utf-8"))
    first = next(iter(study["models"].values()))
    study["models"] = {f"m{number:03d}": first for number in range(models)}
    for experiment in study["experiments"].values():
        experiment.pop("models", None)
    path = folder / f"grown-{models}.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    return path


def own_share(profile: Path) -> float:
    """Return the share of the functions and modules of sftlens in a profile, with all they call."""
    stats = pstats.Stats(str(profile))

    def own(function: tuple[str, int, str]) -> bool:
        return "/src/sftlens/" in function[0]

    spent = 0.0
    for function, (_, _, _, _, callers) in stats.stats.items():  # type: ignore[attr-defined]
        if own(function):
            spent += sum(edge[3] for caller, edge in callers.items() if not own(caller))
    return spent / stats.total_tt  # type: ignore[attr-defined]


if __name__ == "__main__":
    _common.run(main)
