"""Collect the summaries of a study: the tidy table, a figure, a table, the page.

  python scripts/collect.py demo --results            results/demo/results.parquet
  python scripts/collect.py demo --figure fig2        results/demo/figures/fig2.{png,svg,pdf,csv}
  python scripts/collect.py demo --table table4       results/demo/tables/table4.csv
  python scripts/collect.py demo --table intervals    results/demo/tables/intervals.csv, from the answers themselves
  python scripts/collect.py demo --report             results/demo/report.html
  python scripts/collect.py demo --partial            all of it from what exists, below results/demo/partial/

The study's configuration is read from results/<study>/study.json, which every run of the workflow writes.
"""

import sys
from pathlib import Path
from typing import Any

from sftlens import files
from sftlens.commands import program
from sftlens.config import loading
from sftlens.config.study import Study
from sftlens.dag import targets
from sftlens.dag.cells import Product
from sftlens.dag.paths import Paths
from sftlens.dag.recorded import RESULTS, SNAPSHOT
from sftlens.errors import DataError
from sftlens.results import collect


def main() -> None:
    parser = program.parser(__doc__)
    parser.add_argument("study", help="name of the study: its folder below results/")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--results", action="store_true", help="write the tidy table")
    what.add_argument("--figure", choices=targets.FIGURES, help="draw one figure")
    what.add_argument("--table", choices=[*targets.TABLES, *targets.INTERVALS], help="write one table")
    what.add_argument("--report", action="store_true", help="write the page")
    what.add_argument("--partial", action="store_true", help="everything from what exists; list what is missing")
    args = parser.parse_args()
    root = Path(RESULTS) / args.study
    study = loading.load(files.read_json(root / SNAPSHOT), str(root / SNAPSHOT))
    if args.results:
        files.write_parquet(root / "results.parquet", _complete(study, None))
    elif args.figure:
        _draw(root, args.figure, _complete(study, _products(study, args.figure)), study.notice)
    elif args.table:
        products = _products(study, args.table)
        _tabulate(root, study, args.table, _complete(study, products), products)
    elif args.report:
        _report(root, study, files.read_parquet(root / "results.parquet"), [])
        files.remove(root / "partial")
    else:
        _partial(root / "partial", study)


def _products(study: Study, name: str) -> list[Product]:
    wanted = targets.wanted(study)
    if name not in wanted:
        raise DataError(f"study {study.study} has no experiment for {name}; it has {', '.join(wanted)}")
    return wanted[name]


def _complete(study: Study, wanted: list[Product] | None) -> Any:
    table, missing = collect.collect(study, wanted)
    if missing:
        raise DataError(
            f"{Paths(study).summary(missing[0])}: missing, with {len(missing) - 1} more; run the workflow, or use "
            "--partial for what there is"
        )
    return table


def _draw(root: Path, name: str, results: Any, notice: str) -> None:
    from sftlens.reporting import figures, tables

    stem = root / "figures" / name
    figures.save(figures.draw(name, results, notice), stem)
    tables.write_csv(tables.build(name, results), stem.with_suffix(".csv"), notice)


def _tabulate(root: Path, study: Study, name: str, results: Any, answered: list[Product]) -> None:
    from sftlens.reporting import tables

    table = _intervals(study, name, answered) if name in targets.INTERVALS else tables.build(name, results)
    tables.write_csv(table, root / "tables" / f"{name}.csv", study.notice)


def _intervals(study: Study, name: str, answered: list[Product]) -> Any:
    from sftlens.dag import contrasts as conditions
    from sftlens.reporting import intervals
    from sftlens.results import answers

    contrasts = conditions.contrasts(conditions.conditions(targets.wanted(study)[name]))
    return intervals.build(name, answers.Answers(study, answered), contrasts)


def _report(root: Path, study: Study, results: Any, missing: list[dict[str, str]]) -> None:
    from sftlens.reporting import intervals, report

    wanted = targets.wanted(study)
    drawn = {name: root / "figures" / f"{name}.svg" for name in wanted if name in targets.FIGURES}
    report.write(
        root / "report.html",
        study=study.study,
        results={name: collect.part(results, wanted[name]) for name in wanted if name not in targets.INTERVALS},
        intervals={n: intervals.read(root / "tables" / f"{n}.csv") for n in wanted if n in targets.INTERVALS},
        figures=drawn,
        notice=study.notice,
        missing=missing,
        settings=study.model_dump(mode="json"),
    )


def _partial(root: Path, study: Study) -> None:
    from sftlens.results import answers

    results, absent = collect.collect(study)
    missing = collect.unfinished(study, absent)
    files.write_parquet(root / "results.parquet", results)
    for name, wanted in targets.wanted(study).items():
        part = collect.part(results, wanted)
        if name in targets.FIGURES:
            _draw(root, name, part, study.notice)
        else:
            _tabulate(root, study, name, part, [product for product in wanted if answers.there(study, product)])
    _report(root, study, results, missing)
    failed = [entry for entry in missing if entry["log"]]
    for entry in failed:
        print(f"unfinished: {entry['cell']} {entry['stage']}: {entry['reason']} (log: {entry['log']})", file=sys.stderr)
    print(
        f"{len(failed)} job(s) did not finish, {len(missing) - len(failed)} more wait for them; "
        f"what is finished: {root / 'report.html'}",
        file=sys.stderr,
    )
