"""Relations are data: config/relations.yaml says what each asks, its domain, and its completion templates.

A completion template is a sentence that ends where the object of a fact follows (arXiv 2509.16596). A study may add
relations, and name a file of templates, of its own.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sftlens.config.stages.data import SLOT, FactsSettings
from sftlens.errors import DataError, TemplateError
from sftlens.settings import SHIPPED
from sftlens.yaml_file import read_mapping

FILE = SHIPPED / "config" / "relations.yaml"
SUBJECT = "{subject}"
"""Where the subject stands in a completion template."""
PUBLISHED = ("train", "dev", "test")
"""The splits of EntityQuestions."""


@dataclass(frozen=True)
class Relation:
    """One relation and the one sentence that is asked about it."""

    id: str
    """Its name in the files: in EntityQuestions a Wikidata property, `P17`."""
    question: str
    """The question with `[X]` in the place of the subject."""
    domain: str
    """`id`: in-domain, trained on and tested; `ood`: out-of-domain, only tested."""

    def ask(self, subject: str) -> str:
        """Return the question about `subject`."""
        return self.question.replace(SLOT, subject)

    def subject(self, question: str) -> str:
        """Return what stands in the subject's place. Raises DataError for a question of another form."""
        before, after = self.question.split(SLOT)
        subject = question[len(before) : len(question) - len(after)]
        if not subject.strip() or before + subject + after != question:
            raise DataError(f"the question {question!r} is not of the form {self.question!r} of {self.id}")
        return subject


def _shipped() -> dict[str, Relation]:
    found = {}
    for name, entry in read_mapping(FILE, DataError).items():
        entry = entry if isinstance(entry, dict) else {}
        question, domain = str(entry.get("question")), str(entry.get("domain"))
        if domain not in ("id", "ood") or question.count(SLOT) != 1:
            raise DataError(f"{FILE}: {name}: write `domain: id` or `domain: ood`, and a `question` with {SLOT} once")
        found[name] = Relation(name, question, domain)
    return found


RELATIONS: dict[str, Relation] = _shipped()
"""The relations of config/relations.yaml; their order decides which of two equal questions is kept."""

ID_RELATIONS: tuple[str, ...] = tuple(name for name, relation in RELATIONS.items() if relation.domain == "id")
"""In-domain: as the paper has it, the relations whose answers are places."""

OOD_RELATIONS: tuple[str, ...] = tuple(name for name, relation in RELATIONS.items() if relation.domain == "ood")
"""Out-of-domain: never trained on."""


def chosen(facts: FactsSettings) -> dict[str, Relation]:
    """Return the relations of a study of EntityQuestions, in-domain ones first, each in the order of facts.relations.

    Raises DataError for a relation of which no question is known.
    """
    wanted = facts.relations
    named = {"id": wanted.id, "ood": wanted.ood} if wanted.named else {"id": ID_RELATIONS, "ood": OOD_RELATIONS}
    questions = {name: relation.question for name, relation in RELATIONS.items()} | wanted.questions
    for name in (*named["id"], *named["ood"]):
        if name not in questions:
            raise DataError(
                f"facts.relations: nothing says what is asked about {name!r}; add its question to facts.relations, as "
                f'`questions: {{{name}: "Where was {SLOT} born?"}}`, or give {FILE.name} an entry'
            )
    return {name: Relation(name, questions[name], domain) for domain, names in named.items() for name in names}


def splits(relations: Iterable[Relation]) -> dict[str, tuple[str, list[Relation]]]:
    """Return the study's splits, in order: the published split each is taken from, and its relations."""
    inside, outside = ([r for r in relations if r.domain == domain] for domain in ("id", "ood"))
    return {split: (split, inside) for split in PUBLISHED} | {"testood": ("test", outside)}


def rank(relation: str) -> tuple[Any, ...]:
    """Return a key that sorts relations as config/relations.yaml does, any others after these by their names."""
    return (list(RELATIONS).index(relation), "") if relation in RELATIONS else (len(RELATIONS), relation)


def load_templates(path: Path) -> dict[str, list[str]]:
    """Return the completion templates of each relation, in the file's order.

    The file is YAML: relation id -> `templates: [...]`; other keys beside `templates` are left to the reader.
    Raises TemplateError naming the file, the relation, the sentence and the remedy.
    """
    found: dict[str, list[str]] = {}
    for relation, entry in read_mapping(path, TemplateError).items():
        where = f"{path}: {relation}"
        sentences = entry.get("templates") if isinstance(entry, dict) else None
        if not isinstance(sentences, list) or not sentences:
            raise TemplateError(f"{where}: has no list of sentences; write `templates:` with at least one")
        for position, sentence in enumerate(sentences):
            said = f"{where}: the template {sentence!r}"
            if not isinstance(sentence, str):
                raise TemplateError(f"{said} is no text; put the sentence in quotes")
            if (slots := sentence.count(SUBJECT)) != 1:
                raise TemplateError(f"{said} has {slots} places for the subject; write {SUBJECT} exactly once")
            if set("{}") & set(sentence.replace(SUBJECT, "")):
                raise TemplateError(
                    f"{said} has braces besides {SUBJECT}; remove them (the object follows where the sentence ends)"
                )
            if sentence != sentence.strip():
                raise TemplateError(f"{said} begins or ends with white space, which changes its tokens; remove it")
            if sentence in sentences[:position]:
                raise TemplateError(f"{said} stands there twice; remove one")
        found[relation] = sentences
    return found


def templates_identity(path: Path) -> str:
    """Return a content hash of a templates file: of its sentences, not of comments or layout."""
    return hashlib.sha256(json.dumps(load_templates(path), sort_keys=True).encode()).hexdigest()


def require_templates(templates: Collection[str], relations: Iterable[str], path: Path) -> None:
    """Raise TemplateError, naming `path`, unless each of `relations` has templates."""
    missing = [relation for relation in dict.fromkeys(relations) if relation not in templates]
    if missing:
        raise TemplateError(
            f"{path}: no templates for relation {', '.join(missing)}; "
            f"add `{missing[0]}: {{templates: [...]}}`, each sentence with {SUBJECT}"
        )


def first_templates(templates: Mapping[str, Sequence[str]], count: int | None) -> dict[str, list[str]]:
    """Return the first `count` templates of each relation in the file's order; None: all."""
    return {relation: list(sentences[:count]) for relation, sentences in templates.items()}


def fill(template: str, subject: str) -> str:
    """Return the template with the subject in its place, whatever characters the subject is made of."""
    return template.replace(SUBJECT, subject)
