"""Collect a study's summaries into its results table, figures and tables, and report.

  sftlens collect demo --results            results/demo/results.parquet
  sftlens collect demo --figure fig2        results/demo/figures/fig2.{png,svg,pdf,csv,txt}, fig2-narrow.svg
  sftlens collect demo --table table4       results/demo/tables/table4.{csv,md,tex,txt}
  sftlens collect demo --report             results/demo/report.html
  sftlens collect demo --partial            all of it from what exists, below results/demo/partial/

The study's configuration is read from results/<study>/study.json, which every run of the workflow writes.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sftlens import files
from sftlens.commands import headline, options
from sftlens.config.study import Study
from sftlens.dag import recorded, targets
from sftlens.dag.cells import Product
from sftlens.dag.paths import Paths
from sftlens.dag.recorded import RESULTS
from sftlens.dag.targets import TARGETS, Target, of_kind
from sftlens.errors import ConfigError, DataError
from sftlens.results import collect, unfinished

PARTIAL = "partial"


def main() -> None:
    parser = options.parser(__doc__)
    parser.add_argument("study", help="name of the study: its folder below results/")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--results", action="store_true", help="write the tidy table")
    what.add_argument("--figure", metavar="NAME", help=f"draw one of: {', '.join(of_kind('figure'))}")
    what.add_argument("--table", metavar="NAME", help=f"write one of: {', '.join(of_kind('table'))}")
    what.add_argument("--report", action="store_true", help="write the page")
    what.add_argument("--partial", action="store_true", help="everything from what exists; list what is missing")
    parser.add_argument("--only", help="with --partial: these experiments alone, with commas between them")
    parser.add_argument("--quiet", action="store_true", help="with --partial: do not list what is missing")
    args = parser.parse_args()
    root = Path(RESULTS) / args.study
    study = recorded.made(root)
    behind = targets.wanted(study)
    if args.results:
        made = "results.parquet"
        files.write_parquet(root / made, _complete(study, None))
    elif name := args.figure or args.table:
        target, kind = TARGETS.get(name), "figure" if args.figure else "table"
        if kind not in target.kinds:
            raise ConfigError(f"{name} is a {target.kind}; use --{target.kind} {name}")
        if name not in behind:
            raise ConfigError(f"study {study.study} has no experiment for {name}; it has {', '.join(behind)}")
        made = f"{kind}s/{name}.{'svg' if args.figure else 'csv'}"
        _write(root, study, target, _complete(study, behind[name]), behind[name], [kind])
    elif args.report:
        made = "report.html"
        _report(root, study, behind, files.read_parquet(root / "results.parquet"), [])
        files.remove(root / PARTIAL)
    else:
        asked, root = targets.select(study, args.only), root / PARTIAL
        results, _ = collect.collect(asked.study, asked.products)
        files.write_parquet(root / "results.parquet", results)
        part = collect.parts(results)
        for name, wanted in asked.targets.items():
            _write(root, asked.study, TARGETS.get(name), part(wanted), wanted, TARGETS.get(name).kinds)
        entries = [entry for entry in unfinished.unfinished(asked) if entry.cell != asked.study.study]
        _report(root, asked.study, asked.targets, results, [dataclasses.asdict(entry) for entry in entries])
        if not args.quiet:
            unfinished.tell(asked)
        print(f"what is finished: {root / 'report.html'}", file=sys.stderr)
        return
    headline.say("collect", [root / made])


def _complete(study: Study, wanted: list[Product] | None) -> Any:
    table, missing = collect.collect(study, wanted)
    if missing:
        raise DataError(
            f"{Paths(study).summary(missing[0])}: missing, with {len(missing) - 1} more; run the workflow, or use "
            "--partial for what there is"
        )
    return table


def _write(root: Path, study: Study, target: Target, results: Any, wanted: list[Product], kinds: Sequence[str]) -> None:
    """Write the files of one target, from its rows of the tidy table or, where it is made of them, from the answers."""
    from sftlens.reporting import style
    from sftlens.results import answers

    paths, notice = Paths(study), study.notice
    if root.name == PARTIAL:
        notice = f"{_incomplete(paths, wanted)} {notice}".strip()
    if target.from_answers:
        there = [product for product in wanted if answers.there(paths, product)] if root.name == PARTIAL else wanted
        results = answers.Answers(study, there, results, wanted)
    numbers = collect.numbers(target, results)
    for kind in kinds:
        style.write(root / f"{kind}s" / target.name, kind, target, numbers, notice)


def _incomplete(paths: Paths, wanted: list[Product]) -> str:
    lost = sum(not unfinished.made(paths, product) for product in wanted)
    return f"Incomplete: {lost} of the {len(wanted)} results behind this are missing." if lost else ""


def _report(
    root: Path, study: Study, behind: dict[str, list[Product]], results: Any, missing: list[dict[str, str]]
) -> None:
    from sftlens.reporting import frames, report
    from sftlens.results import runs

    wanted, part = {TARGETS.get(name): asked for name, asked in behind.items()}, collect.parts(results)
    numbers = {
        target.name: frames.read_csv(root / f"{target.kind}s" / f"{target.name}.csv")
        if target.from_answers
        else collect.numbers(target, part(asked))
        for target, asked in wanted.items()
    }
    products = list(dict.fromkeys(product for asked in behind.values() for product in asked))
    notes = collect.notes(study, products)
    for note in notes:
        print(f"collect: {note}", file=sys.stderr)
    report.write(
        root / "report.html",
        study=study.study,
        results=results,
        numbers=numbers,
        figures={target.name: root / "figures" / f"{target.name}.svg" for target in wanted if target.draw},
        notice=" ".join(filter(None, (study.notice, *notes))),
        missing=missing,
        settings=study.model_dump(mode="json"),
        runs=runs.runs(study, products),
        bases=runs.models(study),
        incomplete={target.name: _incomplete(Paths(study), asked) for target, asked in wanted.items() if missing},
    )
