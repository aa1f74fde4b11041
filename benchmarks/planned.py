"""What `snakemake plan` expects of a study against what its last run took, by rule: where its rates come from.

  make demo; python benchmarks/planned.py
  python benchmarks/planned.py CONFIG        (any study whose benchmark files are there; of CPUs, one process a job)

Planned are seconds of processes, so CPU seconds are what they are compared with.
"""

import sys
from collections import defaultdict
from pathlib import Path

import _common
from demo_time import Run, measured

from sftlens.config import loading
from sftlens.dag import targets
from sftlens.planning import plan


def main() -> None:
    study = loading.load_file(Path(sys.argv[1] if len(sys.argv) > 1 else "config/config.yaml"))
    planned: dict[str, float] = defaultdict(float)
    for job, cost in plan.Plan(targets.select(study)).priced:
        planned[job.rule] += cost.cpu_seconds
    found = measured(Path("results") / study.study / "logs")
    print(f"{study.study}; {_common.machine()}")
    print(f"{'rule':<18}{'jobs':>6}{'planned s':>11}{'CPU s':>9}{'wall s':>9}{'planned / CPU':>15}")
    for rule, runs in found.items():
        print(row(rule, planned[rule], runs))
    print(row("all", sum(planned[rule] for rule in found), [run for runs in found.values() for run in runs]))


def row(name: str, planned: float, runs: list[Run]) -> str:
    """Return a line of the table."""
    processor, wall = sum(run.processor for run in runs), sum(run.seconds for run in runs)
    ratio = planned / processor if processor else float("nan")
    return f"{name:<18}{len(runs):>6}{planned:>11.1f}{processor:>9.1f}{wall:>9.1f}{ratio:>15.2f}"


if __name__ == "__main__":
    main()
