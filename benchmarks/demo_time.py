"""Where a study's time goes, by rule, from the benchmark files of its last run.

  python benchmarks/demo_time.py [STUDY]         (after `make demo`; default: demo)

Prints jobs, wall seconds (sum, median of a job), CPU seconds and the largest memory of each rule, dearest first, and
the time from the start of the first job to the end of the last. Files of an earlier run count too where a job was not
run again: delete the study for the time of a whole one.
"""

import csv
import re
import statistics
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path


def rule_of(path: Path, logs: Path) -> str:
    """Return the rule that wrote a benchmark file, from its name."""
    place = path.relative_to(logs)
    if place.parts[0] in ("figures", "tables"):
        return place.parts[0].removesuffix("s")
    name = re.match(r"[a-z]+", place.stem)
    return {"order": "training_order", "templates": "choose_templates"}.get(name[0], name[0]) if name else "other"


def number(text: str) -> float:
    """Return a value of a benchmark file; 0 where nothing was measured, as in a very short job."""
    return 0.0 if text in ("NA", "-", "") else float(text)


@dataclass(frozen=True)
class Run:
    """One job, from its benchmark file."""

    seconds: float
    """Wall time."""
    processor: float
    """CPU seconds."""
    memory: float
    """Peak, MB."""
    end: float
    """Seconds since the epoch."""


def measured(logs: Path) -> dict[str, list[Run]]:
    """Return the runs of each rule below a study's logs, dearest rule first."""
    found: dict[str, list[Run]] = defaultdict(list)
    for path in sorted(logs.rglob("*.tsv")):
        with path.open(encoding="utf-8") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                memory, processor = number(row["max_rss"]), number(row["cpu_time"])
                run = Run(float(row["s"]), processor, memory, path.stat().st_mtime)
                found[rule_of(path, logs)].append(run)
    if not found:
        sys.exit(f"error: no benchmark files below {logs}; run the study first (make demo)")
    return dict(sorted(found.items(), key=lambda item: -sum(run.seconds for run in item[1])))


def main() -> None:
    study = sys.argv[1] if len(sys.argv) > 1 else "demo"
    found = measured(Path("results") / study / "logs")
    every = [run for runs in found.values() for run in runs]
    total = sum(run.seconds for run in every)
    print(f"{'rule':<18}{'jobs':>6}{'seconds':>10}{'share':>8}{'median':>9}{'CPU s':>9}{'peak MB':>9}")
    for rule, runs in found.items():
        seconds = [run.seconds for run in runs]
        share, median = sum(seconds) / total, statistics.median(seconds)
        processor, memory = sum(run.processor for run in runs), max(run.memory for run in runs)
        print(
            f"{rule:<18}{len(runs):>6}{sum(seconds):>10.1f}{share:>8.0%}{median:>9.2f}{processor:>9.1f}{memory:>9.0f}"
        )
    processor = sum(run.processor for run in every)
    print(f"{'all jobs':<18}{len(every):>6}{total:>10.1f}{'':>17}{processor:>9.1f}")
    whole = max(run.end for run in every) - min(run.end - run.seconds for run in every)
    print(f"from the first job's start to the last one's end: {whole:.0f} s ({whole / 60:.1f} min)")


if __name__ == "__main__":
    main()
