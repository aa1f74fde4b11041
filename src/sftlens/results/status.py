"""How far a study is, read from its files alone: which jobs are done, running, failed or waiting.

It works from any machine that sees the folder, during a run and after it. A job is done when its result counts (as for
`collect`). It runs when there is its log without a result, touched within the last minutes: every program writes a
line a minute there (`runtime.progress`). It failed when the log ends with an error, or its summary is cut short. A log
that fell silent without one belongs to a job that was killed, or waits for a batch system to start it again.
"""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sftlens.dag.cells import Product
from sftlens.dag.paths import Paths
from sftlens.dag.targets import Selection
from sftlens.results.unfinished import made, outdated
from sftlens.runtime import progress

DONE, RUNNING, FAILED, SILENT, WAITING = "done", "running", "failed", "silent", "waiting"
STATES = (DONE, RUNNING, FAILED, SILENT, WAITING)
SILENT_SECONDS = 300.0
"""A running job's log is older than this only where the job hangs, or is loading a very large model."""
LAST = 1000
"""Characters of a log that are looked at, from its end."""


@dataclass(frozen=True)
class Job:
    """One job of a study."""

    cell: str
    """What it belongs to: `tiny/D3/n480`, a model, or the facts."""
    seed: int | None
    stage: str
    what: str
    """Criterion, region and ratio of a restoration."""
    state: str
    """One of STATES."""
    said: str
    """The last line of its log: the error, or how far it is; empty where there is none."""
    log: str


def jobs(asked: Selection) -> list[Job]:
    """Return every job of a selection's cells and what they rest on, in the order of the grid."""
    paths = Paths(asked.study)
    found = []
    for whose, stage, output, told in paths.shared_work(asked.products):
        cell, _, order = whose.partition("/order-seed")
        found.append(_job(cell, int(order) if order else None, stage, "", Path(output).exists(), Path(told)))
    for product in asked.products:
        where, seed = _place(product)
        ratio = f" {product.ratio:g} %" if product.ratio is not None else ""
        what = f"{product.criterion} {product.region}{ratio}".strip()
        # Of a product that waits for its model to be made anew, the log tells of an earlier one.
        log = Path() if outdated(paths, product) else Path(paths.log(product))
        summary = Path(paths.summary(product))
        if (done := made(paths, product)) and not _whole(summary):
            said = f"{summary} is cut short; remove it and run the study again"
            found.append(Job(where, seed, product.stage, what, FAILED, said, str(log)))
        else:
            found.append(_job(where, seed, product.stage, what, done, log))
    return found


def grid(found: Iterable[Job]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Return the stages, and for each cell (seeds together) a text per stage: `done/all` and what is not as it should.

    `3/5` is done three times of five; `3/5 1 running`, `3/5 1 failed`. An empty text: the cell has no such job.
    """
    counts: dict[str, dict[str, Counter[str]]] = {}
    stages: dict[str, None] = {}
    for job in found:
        stages.setdefault(job.stage)
        counts.setdefault(job.cell, {}).setdefault(job.stage, Counter())[job.state] += 1
    return list(stages), [
        (cell, [_count(by_stage.get(stage, Counter())) for stage in stages]) for cell, by_stage in counts.items()
    ]


def totals(found: Sequence[Job]) -> str:
    """Return one line: how many jobs are in each state."""
    count = Counter(job.state for job in found)
    listed = ", ".join(f"{count[state]:,} {state}" for state in STATES[1:] if count[state])
    return f"{count[DONE]:,} of {len(found):,} jobs done" + (f", {listed}" if listed else "")


def _place(product: Product) -> tuple[str, int | None]:
    cell = product.cell
    if not cell.train_set:
        return cell.model, None
    strategy = f"/{cell.strategy}" if cell.strategy != "full" else ""
    return f"{cell.model}/{cell.train_set}/n{cell.scale}{strategy}", cell.seed


def _whole(summary: Path) -> bool:
    """Whether a JSON file has its closing brace: a disk that lost the end of a file is found without reading it all."""
    with summary.open("rb") as file:
        file.seek(max(0, summary.stat().st_size - 8))
        return file.read().rstrip().endswith(b"}")


def _job(cell: str, seed: int | None, stage: str, what: str, done: bool, log: Path) -> Job:
    if done or not log.is_file():
        return Job(cell, seed, stage, what, DONE if done else WAITING, "", str(log))
    text = log.read_bytes()[-LAST:].decode("utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = lines[-1] if lines else ""
    errors = [line for line in lines if line.startswith("error:")]
    if errors:
        return Job(cell, seed, stage, what, FAILED, errors[-1], str(log))
    silent = time.time() - log.stat().st_mtime > SILENT_SECONDS
    shown = said if progress.LINE.fullmatch(said) or silent else ""
    return Job(cell, seed, stage, what, SILENT if silent else RUNNING, shown, str(log))


def _count(states: "Counter[str]") -> str:
    if not states:
        return ""
    listed = [f"{states[state]} {state}" for state in (RUNNING, FAILED, SILENT) if states[state]]
    return " ".join([f"{states[DONE]}/{states.total()}", *listed])
