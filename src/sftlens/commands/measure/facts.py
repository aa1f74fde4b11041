"""Prepare the facts of a study from EntityQuestions or from a world in its layout (paper section 3).

  python scripts/facts.py --entity-questions DIR_OR_ZIP --out facts.parquet
  python scripts/facts.py --world DIR --out facts.parquet

Columns: fact_id, split (train, dev, test, testood), relation, subject, object, question, aliases.
"""

from pathlib import Path

from sftlens import files
from sftlens.commands import program
from sftlens.config.data import FactsSettings


def main() -> None:
    parser = program.parser(__doc__, FactsSettings, without=("source", "path"))
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--entity-questions", metavar="DATA", help="folder or zip (default: ENTITY_QUESTIONS_DIR)")
    source.add_argument("--world", type=Path, help="folder of scripts/world.py")
    parser.add_argument("--out", type=Path, required=True, help="table to write (Parquet)")
    args = parser.parse_args()
    args.source, args.path = "entity_questions", args.entity_questions
    settings = program.settings(args, FactsSettings)

    from sftlens.data import facts

    program.stage(
        args,
        "facts",
        outputs={"facts.parquet": args.out},
        inputs={"facts": facts.identity(settings, args.world)},
        settings=settings.model_dump(exclude={"path", "aliases"}),
        compute=lambda folder: files.write_parquet(folder / "facts.parquet", facts.load(settings, args.world)),
    )
