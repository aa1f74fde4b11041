"""Make the embedded world: invented facts, their questions, and the corpus a tiny model is pretrained on.

  python scripts/world.py --templates config/relations.yaml --out DIR
  python scripts/world.py --entity-questions DATA --sample '{"train": 200}' --templates ... --out DIR

DIR gets the layout of EntityQuestions (train, dev, test), corpus.txt, exposures.parquet and calibration.json.
With --entity-questions the facts are a sample of real ones; the dev files give extra and calibration facts.
"""

import os
from pathlib import Path

from sftlens import files, synthetic
from sftlens.commands import program
from sftlens.config.data import FactsSettings
from sftlens.config.world import WorldSettings
from sftlens.data import templates
from sftlens.data.relations import RELATIONS
from sftlens.errors import DataError


def main() -> None:
    parser = program.parser(__doc__, WorldSettings, FactsSettings, without=("source", "path"))
    parser.add_argument(
        "--entity-questions", nargs="?", const="", metavar="DATA",
        help="folder or zip of EntityQuestions for real facts (no value: from ENTITY_QUESTIONS_DIR)",
    )  # fmt: skip
    parser.add_argument("--templates", type=Path, required=True, help="completion templates (YAML)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an older world there is replaced")
    args = parser.parse_args()
    if args.entity_questions is not None:
        args.source, args.path = "entity_questions", args.entity_questions or None
    settings, facts = program.settings(args, WorldSettings), program.settings(args, FactsSettings)
    data = _data(facts)
    _refuse_foreign(args.out)
    sentences = templates.load(args.templates)
    templates.require(sentences, RELATIONS, args.templates)

    def compute(folder: Path) -> None:
        synthetic.write(_world(settings, facts, data), sentences, folder / "world")

    program.stage(
        args,
        "world",
        outputs={"world": args.out},
        inputs={**program.contents(args, "templates"), "facts": _content(data)},
        settings={**settings.model_dump(), "facts": facts.model_dump(exclude={"path"})},
        compute=compute,
    )


def _data(facts: FactsSettings) -> Path | None:
    """Return the path of the real facts; None where the world is invented."""
    if facts.source == "world":
        return None
    if path := facts.path or os.environ.get("ENTITY_QUESTIONS_DIR"):
        return Path(path).expanduser()
    raise DataError("no EntityQuestions data set is named; give --entity-questions DATA, or ENTITY_QUESTIONS_DIR")


def _content(data: Path | None) -> str:
    if data is None or not data.exists():
        return ""
    return files.tree_sha256(data) if data.is_dir() else files.sha256(data)


def _refuse_foreign(out: Path) -> None:
    if out.is_dir() and any(out.iterdir()) and not (out / "corpus.txt").is_file():
        raise DataError(f"{out}: holds other files, which would be lost; give another folder as --out")


def _world(settings: WorldSettings, facts: FactsSettings, data: Path | None) -> synthetic.World:
    if data is None:
        return synthetic.build(settings)
    from sftlens.data import facts as real

    return synthetic.sampled(settings, real.load(facts, data), _spare(data))


def _spare(data: Path) -> dict[str, list[tuple[str, str]]]:
    """Return (subject, object) of the dev files' facts with one answer that its subject does not hold."""
    from sftlens.data import entity_questions

    with entity_questions.opened(data) as root:
        entity_questions.require(root, [("dev", relation) for relation in RELATIONS])
        return {
            relation: [
                (item.subject, item.answers[0])
                for item in entity_questions.read(root, "dev", relation)
                if len(item.answers) == 1 and item.answers[0] not in item.subject
            ]
            for relation in RELATIONS
        }
