"""Relations are data: what each asks and its domain stand in config/relations.yaml, and a study may add its own."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sftlens.config.stages.data import SLOT, FactsSettings
from sftlens.errors import DataError
from sftlens.settings import SHIPPED
from sftlens.yaml_file import read_mapping

FILE = SHIPPED / "config" / "relations.yaml"
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
