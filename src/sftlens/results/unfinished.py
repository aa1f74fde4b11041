"""What a study still lacks, and why: which jobs failed, and the error in the log of each.

It needs pydantic alone, so that the Snakefile itself can tell it at the end of a run, wherever its jobs ran.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from sftlens.dag.cells import Product
from sftlens.dag.paths import Paths
from sftlens.dag.targets import Selection

WAITS = "waits for another job"
TAIL = 12
"""Lines of a log that a reader is shown."""


@dataclass(frozen=True)
class Unfinished:
    """A job whose output is missing."""

    cell: str
    """The cell, the model or the study that it belongs to."""
    stage: str
    """What it does there."""
    log: str
    """Its log; "" for a job that never started because another one failed."""
    reason: str
    """The error in the log, one line."""
    tail: str = ""
    """The last lines of the log."""


def made(paths: Paths, product: Product) -> bool:
    """Whether a product has a summary, and one of the model and the mastery table that there are now."""
    return Path(paths.summary(product)).is_file() and not outdated(paths, product)


def outdated(paths: Paths, product: Product) -> bool:
    """Whether a summary describes a model or a mastery table that was to be made anew and was not."""
    cell = product.cell
    rests_on = [Product("mastery", cell)] if product.stage != "mastery" else []
    rests_on += [Product("finetune", cell)] if cell.trained and product.stage != "finetune" else []
    return any(not Path(paths.summary(other)).is_file() for other in rests_on)


def unfinished(asked: Selection) -> list[Unfinished]:
    """Return the jobs of a selection whose output is missing: first those that others wait for, the pages last."""
    study, paths = asked.study, Paths(asked.study)
    missing = [product for product in asked.products if not made(paths, product)]
    found = [
        _entry(whose, stage, Path(log))
        for whose, stage, output, log in paths.shared_work(missing)
        if not Path(output).exists() and Path(log).is_file()
    ]
    for product in missing:
        measure = f" {product.criterion} {product.region}" if product.criterion else ""
        ratio = f" k={product.ratio:g}" if product.ratio is not None else ""
        # Of a product that is to be made anew, the log, if there is one, tells of an earlier model.
        log = Path() if outdated(paths, product) else Path(paths.log(product))
        found.append(_entry(product.cell.path, product.stage + measure + ratio, log))
    drawn = [(f"{kind}/{name}.csv", f"{kind}/{name}") for kind in ("figures", "tables") for name in asked.targets]
    drawn += [("results.parquet", "results"), ("report.html", "report")] if asked.whole else []
    drawn += [("repair/report.json", "repair")] if study.repair else []
    for output, name in drawn:
        log = Path(paths.root, "logs", f"{name}.log")
        if log.is_file() and log.stat().st_size and not Path(paths.root, output).exists():
            found.append(_entry(study.study, name, log))
    return found


def tell(asked: Selection) -> None:
    """Print the jobs that failed to stderr, one line each: cell, stage, the error, the log."""
    missing = unfinished(asked)
    failed = [entry for entry in missing if entry.log]
    for entry in failed:
        print(f"unfinished: {entry.cell} {entry.stage}: {entry.reason} (log: {entry.log})", file=sys.stderr)
    waiting = len(missing) - len(failed)
    text = f"{len(failed)} job{'s' * (len(failed) != 1)} did not finish, {waiting} more wait for them"
    print(text, file=sys.stderr, flush=True)


def _entry(cell: str, stage: str, log: Path) -> Unfinished:
    if not log.is_file():
        return Unfinished(cell, stage, "", WAITS)
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error:")]
    reason = (errors or lines or ["the log is empty"])[-1][:300]
    return Unfinished(cell, stage, str(log), reason, "\n".join(line[:300] for line in lines[-TAIL:]))
