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


def main() -> None:
    study = sys.argv[1] if len(sys.argv) > 1 else "demo"
    logs = Path("results") / study / "logs"
    seconds: dict[str, list[float]] = defaultdict(list)
    processor: dict[str, float] = defaultdict(float)
    memory: dict[str, float] = defaultdict(float)
    spans: list[tuple[float, float]] = []
    for path in sorted(logs.rglob("*.tsv")):
        with path.open(encoding="utf-8") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                rule = rule_of(path, logs)
                seconds[rule].append(float(row["s"]))
                processor[rule] += number(row["cpu_time"])
                memory[rule] = max(memory[rule], number(row["max_rss"]))
                end = path.stat().st_mtime
                spans.append((end - float(row["s"]), end))
    if not seconds:
        sys.exit(f"error: no benchmark files below {logs}; run the study first (make demo)")
    total = sum(map(sum, seconds.values()))
    print(f"{'rule':<18}{'jobs':>6}{'seconds':>10}{'share':>8}{'median':>9}{'CPU s':>9}{'peak MB':>9}")
    for rule, values in sorted(seconds.items(), key=lambda item: -sum(item[1])):
        share, median = sum(values) / total, statistics.median(values)
        print(
            f"{rule:<18}{len(values):>6}{sum(values):>10.1f}{share:>8.0%}{median:>9.2f}{processor[rule]:>9.1f}{memory[rule]:>9.0f}"
        )
    jobs = sum(map(len, seconds.values()))
    print(f"{'all jobs':<18}{jobs:>6}{total:>10.1f}{'':>17}{sum(processor.values()):>9.1f}")
    whole = max(end for _, end in spans) - min(start for start, _ in spans)
    print(f"from the first job's start to the last one's end: {whole:.0f} s ({whole / 60:.1f} min)")


if __name__ == "__main__":
    main()
