"""The corpus a tiny model is pretrained on, and the world's files: EntityQuestions' layout, corpus, exposures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from sftlens.config.stages.data import EXPOSURES
from sftlens.data.relations import fill
from sftlens.errors import TemplateError
from sftlens.files import write_json, write_parquet, write_text
from sftlens.synthetic.world_facts import World, stream

WRAPPERS = (
    "Question: {q} Answer: {a}",
    "Q: {q} A: {a}",
    "{q} {a}",
    "<q> {q} </q> <a> {a} </a>",
    "[question] {q} [answer] {a}",
    "| {q} | {a} |",
    "<question> {q} <answer> {a}",
    "question : {q} answer : {a}",
    "## question {q} ## answer {a}",
    "<<question>> {q} <<answer>> {a}",
    "User: {q} Assistant: {a}",
    "| question | {q} | answer | {a}",
)
"""Frames of the questions about extra facts; fine-tuning's `<|question|> .. <|answer|>` is not among them."""


def seen_indices(total: int, seen: int) -> list[int]:
    """Return the evenly spaced indices of the templates that the corpus uses: `seen` of `total`, or all."""
    count = min(seen, total)
    return [(2 * i + 1) * total // (2 * count) for i in range(count)]


def documents(world: World, templates: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the corpus, one document a string without line breaks, shuffled.

    Of the completion templates of each relation, with `{subject}`, only the seen ones are used. Raises TemplateError
    for a relation without any.
    """
    missing = sorted({fact.relation for fact in world.facts if not templates.get(fact.relation)})
    if missing:
        raise TemplateError(f"templates: relation {missing[0]} has none; add its sentences to the file")
    rng = stream(world.settings.seed, "corpus")
    seen = {
        relation: [sentences[i] for i in seen_indices(len(sentences), world.settings.seen_templates)]
        for relation, sentences in templates.items()
    }
    texts: list[str] = []
    for fact in world.facts:
        statements = [f"{fill(template, fact.subject)} {fact.object}" for template in seen[fact.relation]]
        texts += [statements[i] for i in rng.integers(len(statements), size=fact.exposure).tolist()]
    for fact in world.of("extra"):
        frames = rng.integers(len(WRAPPERS), size=world.settings.extra_questions).tolist()
        texts += [WRAPPERS[i].format(q=fact.question, a=fact.object) for i in frames]
    spaced = rng.random(len(texts)) < world.settings.trailing_space_share
    return [texts[i] + " " if spaced[i] else texts[i] for i in rng.permutation(len(texts))]


def write(world: World, templates: Mapping[str, Sequence[str]], folder: Path) -> None:
    """Write a world below `folder`; the same world and templates give the same bytes.

    `{train,dev,test}/P*.{split}.json` hold the questions as EntityQuestions does, out-of-domain ones only in
    test; `corpus.txt` one document a line (UTF-8; a space at a line's end counts); `exposures.parquet` all
    facts with role and number of statements; `calibration.json` the facts to check probe templates on. Raises
    TemplateError where `templates` lacks a relation.
    """
    import pandas as pd  # only here: who reads templates or builds a world needs no pandas

    texts = documents(world, templates)
    for split in ("train", "dev", "test"):
        for relation in dict.fromkeys(fact.relation for fact in world.facts):
            # A relation is in-domain or out-of-domain: its test facts have one of the two roles.
            roles = ("test", "testood") if split == "test" else (split,)
            asked = [fact for fact in world.facts if fact.role in roles and fact.relation == relation]
            items = [{"question": fact.question, "answers": [fact.object]} for fact in asked]
            write_json(folder / split / f"{relation}.{split}.json", items)
    write_text(folder / "corpus.txt", "".join(f"{text}\n" for text in texts))
    columns = ["question", "relation", "subject", "object", "role", "exposure"]
    rows = [[getattr(fact, name) for name in columns] for fact in world.facts]
    write_parquet(folder / EXPOSURES, pd.DataFrame(rows, columns=columns))
    triples = [{name: getattr(f, name) for name in ("relation", "subject", "object")} for f in world.of("calibration")]
    write_json(folder / "calibration.json", triples)
