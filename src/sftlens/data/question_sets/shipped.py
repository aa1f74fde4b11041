"""The question set that comes with sftlens, and the rule by which it was drawn from EntityQuestions.

For each of the 24 relations, in their order, from the test split:

1. A subject is asked about once in the whole set, and only if all three splits give one and the same list of answers
   for it, of at most MOST_ANSWERS names none of which stands in the subject. A name of one word that a person, a work
   or a product bears is left out, as several often share it.
2. Subjects come in the order of how often the data set names them: in all three splits, as the subject of a question
   or as an answer, counted among names of the same kind (persons, places ...; KINDS). What is named more often is more
   likely known to a language model. Ties are in the order of a hash of the seed, the relation and the subject.
3. Of these the first PER_RELATION are taken, an object (the first answer) at most PER_OBJECT times in a relation, so
   that no one answer is a good guess.

Questions are `own_question` of config/relations.yaml; the accepted answers are those of the data set, with the aliases
of config/aliases.yaml.
"""

import hashlib
from collections import Counter, defaultdict
from pathlib import Path

from sftlens.config.stages.data import SLOT
from sftlens.data import entity_questions, relations
from sftlens.data.entity_questions import Item
from sftlens.data.facts import accepted, load_aliases
from sftlens.data.relations import PUBLISHED, RELATIONS
from sftlens.errors import DataError
from sftlens.yaml_file import read_mapping

FILE = Path(__file__).with_name("shipped.csv")
"""The set as drawn with seed 0; its licence and source stand in shipped.txt beside it."""
PER_RELATION, PER_OBJECT, MOST_ANSWERS = 50, 5, 10
COLUMNS = ("fact_id", "relation", "subject", "question", "answers")
NAMES = ("person", "organisation", "work")
KINDS = {
    "P17": ("place", "place"), "P19": ("person", "place"), "P20": ("person", "place"), "P36": ("place", "place"),
    "P69": ("person", "organisation"), "P131": ("place", "place"), "P159": ("organisation", "place"),
    "P276": ("site", "place"), "P495": ("work", "place"), "P740": ("organisation", "place"),
    "P26": ("person", "person"), "P40": ("person", "person"), "P50": ("work", "person"),
    "P106": ("person", "occupation"), "P112": ("organisation", "person"), "P127": ("organisation", "organisation"),
    "P136": (None, "genre"), "P170": ("work", "person"), "P175": ("work", "person"),
    "P176": ("product", "organisation"), "P264": (None, "organisation"), "P407": ("work", "language"),
    "P413": ("person", "position"), "P800": ("person", "work"),
}  # fmt: skip
"""Relation -> kind of its subjects and of its answers; None: any of NAMES. A `site` (a building, a painting) may bear
the name of a city that is an answer to many questions, and is another thing."""


def draw(path: Path, seed: int = 0) -> list[dict[str, str]]:
    """Return the rows of the set, COLUMNS, drawn from the folder or zip file `path`. Raises DataError."""
    with entity_questions.opened(path) as root:
        entity_questions.require(root, [(split, name) for split in PUBLISHED for name in RELATIONS])
        items = {
            (split, name): entity_questions.read(root, split, relation)
            for name, relation in RELATIONS.items()
            for split in PUBLISHED
        }
    named: Counter[tuple[str, str]] = Counter()
    said: dict[tuple[str, str], set[tuple[str, ...]]] = defaultdict(set)
    for (_, name), found in items.items():
        subjects, objects = KINDS[name]
        for item in found:
            named.update((kind, item.subject) for kind in ((subjects,) if subjects else NAMES))
            named.update((objects, answer) for answer in set(item.answers))
            said[name, item.subject].add(tuple(item.answers))

    wording = {name: entry.get("own_question", "") for name, entry in read_mapping(relations.FILE, DataError).items()}
    aliases = load_aliases(relations.FILE.with_name("aliases.yaml"))
    rows: list[dict[str, str]] = []
    asked: set[str] = set()
    for name in RELATIONS:
        subjects = KINDS[name][0]
        kinds = (subjects,) if subjects else NAMES

        def rank(item: Item, name: str = name, kinds: tuple[str, ...] = kinds) -> tuple[int, str]:
            often = max(named[kind, item.subject] for kind in kinds)
            return -often, hashlib.sha256(f"{seed}/{name}/{item.subject}".encode()).hexdigest()

        of_object: Counter[str] = Counter()
        for item in sorted(items["test", name], key=rank):
            if not item.answers:  # a question that nothing answers
                continue
            in_doubt = len(said[name, item.subject]) > 1 or len(item.answers) > MOST_ANSWERS
            shared = " " not in item.subject and subjects not in ("place", "site", "organisation")
            given_away = any(answer.lower() in item.subject.lower() for answer in item.answers)
            full = of_object[item.answers[0]] == PER_OBJECT or sum(of_object.values()) == PER_RELATION
            if item.subject in asked or in_doubt or shared or given_away or full:
                continue
            of_object[item.answers[0]] += 1
            asked.add(item.subject)
            question = wording[name].replace(SLOT, item.subject)
            answers = "|".join(accepted(item.answers, aliases))
            texts = (f"{name}/{item.subject}", name, item.subject, question, answers)
            # A no-break space (there are some) becomes a plain one.
            rows.append({column: " ".join(text.split()) for column, text in zip(COLUMNS, texts, strict=True)})
    return rows
