"""The embedded world on disk: EntityQuestions' layout, the corpus, the exposures, the calibration facts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from sftlens.data.relations import ID_RELATIONS
from sftlens.files import write_json, write_parquet, write_text
from sftlens.synthetic.corpus import documents
from sftlens.synthetic.world_facts import Fact, World


def write(world: World, templates: Mapping[str, Sequence[str]], folder: Path) -> None:
    """Write a world below `folder`; the same world and templates give the same bytes.

    `{train,dev,test}/P*.{split}.json` hold the questions as EntityQuestions does, out-of-domain ones only in
    test; `corpus.txt` one document a line (UTF-8; a space at a line's end counts); `exposures.parquet` all
    facts with role and number of statements; `calibration.json` the facts to check probe templates on.

    Raises:
        TemplateError: `templates` lacks a relation.
    """
    texts = documents(world, templates)
    for split in ("train", "dev", "test"):
        for relation in dict.fromkeys(fact.relation for fact in world.facts):
            write_json(folder / split / f"{relation}.{split}.json", _questions(world, relation, split))
    write_text(folder / "corpus.txt", "".join(f"{text}\n" for text in texts))
    _write_exposures(world, folder / "exposures.parquet")
    write_json(folder / "calibration.json", [_triple(fact) for fact in world.of("calibration")])


def _questions(world: World, relation: str, split: str) -> list[dict[str, object]]:
    role = "testood" if split == "test" and relation not in ID_RELATIONS else split
    return [
        {"question": fact.question, "answers": [fact.object]}
        for fact in world.facts
        if fact.role == role and fact.relation == relation
    ]


def _triple(fact: Fact) -> dict[str, str]:
    return {"relation": fact.relation, "subject": fact.subject, "object": fact.object}


def _write_exposures(world: World, path: Path) -> None:
    import pandas as pd  # only here: who reads templates or builds a world needs no pandas

    columns = ["question", "relation", "subject", "object", "role", "exposure"]
    rows = [tuple(getattr(fact, name) for name in columns) for fact in world.facts]
    write_parquet(path, pd.DataFrame(rows, columns=columns))
