"""Make an invented world: facts, their questions, and the corpus that a tiny model is pretrained on.

  sftlens world --templates config/relations.yaml --out DIR
  sftlens world --entity-questions DATA --sample train=200 test=40 --templates ... --out DIR
  sftlens world --table facts.csv --templates ... --out DIR

DIR gets the layout of EntityQuestions (train, dev, test), corpus.txt, exposures.parquet and calibration.json.
With --entity-questions or --table the facts are a sample of those given; extra and calibration facts are dev facts.
"""

from pathlib import Path

from sftlens import files
from sftlens.commands import options, program
from sftlens.config.stages.data import FactsSettings, WorldSettings
from sftlens.data import facts as real
from sftlens.data import relations
from sftlens.errors import DataError
from sftlens.synthetic import corpus, world_facts


def main() -> None:
    parser = options.parser(__doc__, WorldSettings, FactsSettings, without=("source", "path"))
    options.add_source(parser)
    parser.add_argument("--templates", type=Path, required=True, help="completion templates (YAML)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an older world there is replaced")
    args = parser.parse_args()
    if args.entity_questions is not None:
        args.source, args.path = "entity_questions", args.entity_questions or None
    elif args.table is not None:
        args.source, args.path = "table", args.table
    settings, facts = options.settings(args, WorldSettings), options.settings(args, FactsSettings)
    if args.out.is_dir() and any(args.out.iterdir()) and not (args.out / "corpus.txt").is_file():
        raise DataError(f"{args.out}: holds other files, which would be lost; give another folder as --out")
    sentences = relations.load_templates(args.templates)
    if facts.source == "world":
        relations.require_templates(sentences, relations.RELATIONS, args.templates)

    def compute(folder: Path) -> None:
        if facts.source == "world":
            chosen = relations.chosen(facts).values()
            world = world_facts.build(settings, [relation.id for relation in chosen if relation.domain == "id"])
        else:
            world = world_facts.sampled(settings, real.load(facts), real.spare(facts))
        relations.require_templates(sentences, [fact.relation for fact in world.facts], args.templates)
        corpus.write(world, sentences, folder / "world")

    content = ""  # the invented world is made of settings alone
    if facts.source != "world":
        data = real.location(facts)
        content = files.tree_sha256(data) if data.is_dir() else files.sha256(data)
    inputs = {**program.contents(args, "templates"), "facts": content}
    key = {**settings.model_dump(), "facts": facts.model_dump(exclude={"path"})}
    program.stage(args, "world", {"world": args.out}, inputs, key, compute)
