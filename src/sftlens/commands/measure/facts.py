"""Read the facts of a study: EntityQuestions, an invented world, or a table of your own (paper section 3).

  sftlens facts --entity-questions DIR_OR_ZIP --out facts.parquet
  sftlens facts --world DIR --out facts.parquet
  sftlens facts --table facts.csv --out facts.parquet

A table (Parquet, CSV, TSV or JSON lines) has the columns split, relation, subject, object and question; optional are
aliases (a list, or names with | between them), domain (id or ood, of the relation) and fact_id.
Columns written: fact_id, split (train, dev, test, testood), relation, subject, object, question, aliases.
"""

from pathlib import Path

from sftlens import files
from sftlens.commands import options, program
from sftlens.config.stages.data import FactsSettings


def main() -> None:
    parser = options.parser(__doc__, FactsSettings, without=("source", "path"))
    options.add_source(parser).add_argument("--world", type=Path, help="folder of sftlens world")
    parser.add_argument("--out", type=Path, required=True, help="table to write (Parquet)")
    args = parser.parse_args()
    args.source = "entity_questions" if args.table is None else "table"
    args.path = (args.entity_questions or None) if args.table is None else args.table
    settings = options.settings(args, FactsSettings)

    from sftlens.data import facts

    def compute(folder: Path) -> None:
        files.write_parquet(folder / "facts.parquet", facts.load(settings, args.world))

    inputs = {"facts": facts.identity(settings, args.world)}
    key = settings.model_dump(exclude={"path", "aliases"})
    program.stage(args, "facts", {"facts.parquet": args.out}, inputs, key, compute)
