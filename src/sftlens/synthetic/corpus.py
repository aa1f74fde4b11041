"""The text a tiny model learns the embedded world from: statements of facts, questions about extra ones."""

from collections.abc import Iterator, Mapping, Sequence

from sftlens.data.templates import fill
from sftlens.errors import TemplateError
from sftlens.synthetic.world_facts import Fact, World, stream

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

    Args:
        world: the facts.
        templates: completion templates of each relation, with `{subject}`; only the seen ones are used.

    Raises:
        TemplateError: a relation has no template.
    """
    rng = stream(world.settings.seed, "corpus")
    seen = _seen_templates(world, templates)
    texts: list[str] = []
    for fact in world.facts:
        sentences = seen[fact.relation]
        texts += _statements(fact, sentences, rng.integers(len(sentences), size=fact.exposure).tolist())
    for fact in world.of("extra"):
        texts += _questions(fact, rng.integers(len(WRAPPERS), size=world.settings.extra_questions).tolist())
    spaced = rng.random(len(texts)) < world.settings.trailing_space_share
    return [texts[i] + " " if spaced[i] else texts[i] for i in rng.permutation(len(texts))]


def _seen_templates(world: World, templates: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    missing = sorted({fact.relation for fact in world.facts if not templates.get(fact.relation)})
    if missing:
        raise TemplateError(f"templates: relation {missing[0]} has none; add its sentences to the file")
    return {
        relation: [sentences[i] for i in seen_indices(len(sentences), world.settings.seen_templates)]
        for relation, sentences in templates.items()
    }


def _statements(fact: Fact, templates: Sequence[str], drawn: Sequence[int]) -> Iterator[str]:
    filled = [f"{fill(template, fact.subject)} {fact.object}" for template in templates]
    return (filled[i] for i in drawn)


def _questions(fact: Fact, drawn: Sequence[int]) -> Iterator[str]:
    question = fact.question
    return (WRAPPERS[i].format(q=question, a=fact.object) for i in drawn)
