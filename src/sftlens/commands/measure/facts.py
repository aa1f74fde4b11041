"""Prepare the facts of a study from EntityQuestions, from a world in its layout or from a table (paper section 3).

  sftlens facts --entity-questions DIR_OR_ZIP --out facts.parquet
  sftlens facts --world DIR --out facts.parquet
  sftlens facts --table facts.csv --out facts.parquet

A table (Parquet, CSV, TSV or JSON lines) has the columns split, relation, subject, object and question; optional are
aliases (a list, or names with | between them), domain (id or ood, of the relation) and fact_id.
Columns written: fact_id, split (train, dev, test, testood), relation, subject, object, question, aliases.
"""

import os
from pathlib import Path

from sftlens import files
from sftlens.commands import options, program
from sftlens.config.stages.data import TABLE, FactsSettings


def main() -> None:
    parser = options.parser(__doc__, FactsSettings, without=("source", "path"))
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--entity-questions", metavar="DATA", help="folder or zip (default: ENTITY_QUESTIONS_DIR)")
    source.add_argument("--world", type=Path, help="folder of sftlens world")
    source.add_argument(
        "--table", nargs="?", const=os.environ.get(TABLE, ""), metavar="FILE",
        help=f"facts of yours: Parquet, CSV, TSV or JSON lines (no value: from {TABLE})",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="table to write (Parquet)")
    args = parser.parse_args()
    args.source, args.path = (
        ("entity_questions", args.entity_questions) if args.table is None else ("table", args.table)
    )
    settings = options.settings(args, FactsSettings)

    from sftlens.data import facts

    program.stage(
        args,
        "facts",
        outputs={"facts.parquet": args.out},
        inputs={"facts": facts.identity(settings, args.world)},
        settings=settings.model_dump(exclude={"path", "aliases"}),
        compute=lambda folder: files.write_parquet(folder / "facts.parquet", facts.load(settings, args.world)),
    )
