"""Show how far a study is: its cells by stages, what runs, what failed and why, what waits.

  sftlens status demo                 once, in the terminal
  sftlens status demo --watch 10      anew every ten seconds, until all is done
  sftlens status demo --html s.html   as a page

It reads files of results/STUDY only, so it works from anywhere on a cluster, during a run and after it.
"""

import time
from pathlib import Path

from sftlens.commands import headline, options
from sftlens.dag import recorded, targets
from sftlens.results import status

LISTED = 10
"""Jobs of each kind that the terminal lists; the page lists all."""


def main() -> None:
    parser = options.Parser(description=__doc__)
    parser.add_argument("study", help="name of the study below results/, or a path to its folder")
    parser.add_argument("--only", help="experiments, separated by commas (default: all of the study)")
    parser.add_argument("--watch", type=float, metavar="SECONDS", help="show it anew every so many seconds")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page instead")
    args = parser.parse_args()
    page = args.html and args.html.absolute()
    asked = targets.select(recorded.made(recorded.entered(args.study)), args.only)
    if args.html:
        _write_page(page, asked.study.study, status.jobs(asked))
        headline.say("status", [args.html])
        return
    while True:
        found = status.jobs(asked)
        if args.watch:
            print("\033[H\033[2J", end="")
        print(_text(found), flush=True)
        if not args.watch or all(job.state == status.DONE for job in found):
            return
        time.sleep(args.watch)


def _text(found: list[status.Job]) -> str:
    stages, rows = status.grid(found)
    # What all cells share stands above them, so that no column is wide for one row.
    head = ["", *(stage.replace("_", " ") for stage in stages)]
    table = [head, *([cell, *texts] for cell, texts in rows)]
    used = [i for i in range(len(head)) if any(row[i] for row in table[1:])]
    widths = {i: max(len(row[i]) for row in table) for i in used}
    lines = ["  ".join(row[i].ljust(widths[i]) for i in used).rstrip() for row in table]
    for state in (status.RUNNING, status.FAILED, status.SILENT):
        chosen = [job for job in found if job.state == state]
        lines += ["", *(f"{state}: {_named(job)}" for job in chosen[:LISTED])] if chosen else []
        if len(chosen) > LISTED:
            lines.append(f"{state}: {len(chosen) - LISTED} more (--html FILE lists all)")
    return "\n".join([*lines, "", status.totals(found)])


def _named(job: status.Job) -> str:
    seed = f" seed {job.seed}" if job.seed is not None else ""
    said = f": {job.said}" if job.said else ""
    log = f" (log: {job.log})" if job.state != status.RUNNING else ""
    return f"{job.cell}{seed} {job.stage}{f' {job.what}' if job.what else ''}{said}{log}"


def _write_page(path: Path, study: str, found: list[status.Job]) -> None:
    from sftlens.reporting import html
    from sftlens.reporting.html import Cell, Table

    stages, rows = status.grid(found)
    cells = Table(
        [Cell("Cell"), *(Cell(stage.replace("_", " ")) for stage in stages)],
        [("", [Cell(cell, "", "code"), *map(Cell, texts)]) for cell, texts in rows],
    )
    listed = [job for job in found if job.state not in (status.DONE, status.WAITING)]
    named = [
        ("", [Cell(job.state), Cell(f"{job.cell} {job.stage} {job.what}".strip()),
              Cell("" if job.seed is None else str(job.seed), "", "number"), Cell(job.said, job.log, "any")])
        for job in listed
    ]  # fmt: skip
    head = [Cell("State"), Cell("Job"), Cell("Seed", "", "number"), Cell("Last line, and its log")]
    html.write(
        path, "reporting/status.html", title=f"Study {study}: how far it is", summary=status.totals(found),
        when=time.strftime("%Y-%m-%d %H:%M:%S %Z"), cells=cells, jobs=Table(head, named) if named else None,
    )  # fmt: skip
