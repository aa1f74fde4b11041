"""The 24 relations of EntityQuestions: the question each asks and the domain each belongs to."""

from dataclasses import dataclass
from typing import Literal

from sftlens.errors import DataError

SLOT = "[X]"
"""Where the subject stands in a question."""


@dataclass(frozen=True)
class Relation:
    """One Wikidata property and the one sentence that EntityQuestions asks about it."""

    id: str
    """Wikidata id, `P17`."""
    question: str
    """The question with `[X]` in the place of the subject."""
    domain: Literal["id", "ood"]
    """`id`: the ten location relations (trained on and tested); `ood`: the other fourteen (only tested)."""

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


_QUESTIONS: dict[Literal["id", "ood"], dict[str, str]] = {
    "id": {
        "P17": "Which country is [X] located in?",
        "P19": "Where was [X] born?",
        "P20": "Where did [X] die?",
        "P36": "What is the capital of [X]?",
        "P69": "Where was [X] educated?",
        "P131": "Where is [X] located?",
        "P159": "Where is the headquarter of [X]?",
        "P276": "Where is [X] located?",
        "P495": "Which country was [X] created in?",
        "P740": "Where was [X] founded?",
    },
    "ood": {
        "P26": "Who is [X] married to?",
        "P40": "Who is [X]'s child?",
        "P50": "Who is the author of [X]?",
        "P106": "What kind of work does [X] do?",
        "P112": "Who founded [X]?",
        "P127": "Who owns [X]?",
        "P136": "What type of music does [X] play?",
        "P170": "Who was [X] created by?",
        "P175": "Who performed [X]?",
        "P176": "Which company is [X] produced by?",
        "P264": "What music label is [X] represented by?",
        "P407": "Which language was [X] written in?",
        "P413": "What position does [X] play?",
        "P800": "What is [X] famous for?",
    },
}

RELATIONS: dict[str, Relation] = {
    relation: Relation(relation, question, domain)
    for domain, questions in _QUESTIONS.items()
    for relation, question in questions.items()
}
"""All relations by id; their order decides which of two equal questions is kept (arXiv 2509.16596)."""

ID_RELATIONS: tuple[str, ...] = tuple(_QUESTIONS["id"])
"""In-domain: the relations whose answers are places."""

OOD_RELATIONS: tuple[str, ...] = tuple(_QUESTIONS["ood"])
"""Out-of-domain: never trained on."""

SPLITS: dict[str, tuple[str, tuple[str, ...]]] = {
    "train": ("train", ID_RELATIONS),
    "dev": ("dev", ID_RELATIONS),
    "test": ("test", ID_RELATIONS),
    "testood": ("test", OOD_RELATIONS),
}
"""The study's splits, in order: the published split each is taken from, and its relations."""


def subject_of(relation: str, question: str) -> str:
    """Return the subject of a question of `relation` (an id). Raises DataError when the form does not fit."""
    return RELATIONS[relation].subject(question)
