"""Snakemake's `--logger sftlens`: one line for each finished job, with its cell, and how much is left.

    tiny/D3/n480/seed1 finetune done, 84 of 159, about 3 min left

It stands in the place of Snakemake's own. Warnings, errors, and the first and last lines are printed as they are; what
Snakemake says for each job is left out. A logger is found by the name of its package: it cannot lie in another one.
"""

import sys
import time
from collections import Counter
from collections.abc import Mapping
from logging import WARNING, LogRecord

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

CELL = ("model", "train_set", "scale", "seed")
MORE = ("strategy", "criterion", "region", "ratio", "figure", "table")
UNSAID = {
    LogEvent.WORKFLOW_STARTED, LogEvent.PROGRESS, LogEvent.SHELLCMD, LogEvent.RESOURCES_INFO,
    LogEvent.JOB_STARTED, LogEvent.JOB_INFO, LogEvent.JOB_FINISHED,
    LogEvent.GROUP_INFO, LogEvent.DEBUG_DAG, LogEvent.RULEGRAPH,
}  # fmt: skip
"""Events of which Snakemake's own words are left out."""
IDLE = ("Select jobs to execute", "Execute ", "Using shell", "Assuming unrestricted")
"""Beginnings of lines that say nothing to a person."""
QUIET = 3
"""Finished jobs before a time is told: the first ones say little about the others."""


class LogHandler(LogHandlerBase):
    """Writes to stderr."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = False
    needs_rulegraph = False

    def __post_init__(self) -> None:
        self._jobs: dict[int, tuple[str, str]] = {}
        self._began: dict[int, float] = {}
        self._seconds: dict[str, list[float]] = {}
        self._left: Counter[str] = Counter()
        self._first = time.monotonic()
        self._done = 0

    def emit(self, record: LogRecord) -> None:
        """Take note of a record; print a line for a finished job, and what is no news of a single one."""
        event, now = getattr(record, "event", None), time.monotonic()
        if event == LogEvent.RUN_INFO:
            stats: Mapping[str, int] = record.stats  # type: ignore[attr-defined]
            self._left = Counter({rule: count for rule, count in stats.items() if rule != "total"})
        elif event == LogEvent.JOB_INFO:
            self._jobs[record.jobid] = (record.rule_name, place(record.wildcards or {}))  # type: ignore[attr-defined]
        elif event == LogEvent.JOB_STARTED:
            self._began |= dict.fromkeys(record.jobs, now)  # type: ignore[attr-defined]
        elif event == LogEvent.JOB_FINISHED and record.job_id in self._jobs:  # type: ignore[attr-defined]
            rule, where = self._jobs[record.job_id]  # type: ignore[attr-defined]
            self._seconds.setdefault(rule, []).append(now - self._began.get(record.job_id, now))  # type: ignore[attr-defined]
            self._left[rule] -= 1
            self._done += 1
            total = self._done + sum(self._left.values())
            name = f"{where} {rule}".strip()
            print(f"{name} done, {self._done} of {total}{self._time_left(now)}", file=sys.stderr, flush=True)

        if record.levelno >= WARNING or (event not in UNSAID and not record.getMessage().lstrip().startswith(IDLE)):
            print(self.format(record), file=sys.stderr, flush=True)

    def _time_left(self, now: float) -> str:
        """Return how long the rest takes: each rule's mean so far, as many side by side as there were up to now."""
        if self._done < QUIET or not +self._left:
            return ""
        every = [seconds for known in self._seconds.values() for seconds in known]
        means = {rule: sum(known) / len(known) for rule, known in self._seconds.items()}
        rest = sum(count * means.get(rule, sum(every) / len(every)) for rule, count in (+self._left).items())
        seconds = rest * (now - self._first) / max(sum(every), 1e-9)
        return f", about {seconds / 60:.0f} min left" if seconds >= 90 else f", about {seconds:.0f} s left"


def place(wildcards: Mapping[str, object]) -> str:
    """Return a job's place in the grid as the paths of results write it, and what else it is of."""
    short = {"scale": "n{}", "seed": "seed{}"}
    cell = "/".join(short.get(name, "{}").format(wildcards[name]) for name in CELL if wildcards.get(name))
    more = [str(wildcards[name]) for name in MORE if wildcards.get(name)]
    return " ".join(filter(None, [cell, *(word for word in more if word != "full")]))
