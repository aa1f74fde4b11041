"""The completion templates of config/relations.yaml: complete, well-formed and really different sentences."""

import re
from collections import Counter
from itertools import combinations

import pytest
import yaml

from repository import ROOT

FILE = ROOT / "config" / "relations.yaml"
# The relations are spelt out here so that the test does not inherit a mistake of the library's own table.
IN_DOMAIN = "P17 P19 P20 P36 P69 P131 P159 P276 P495 P740"
OUT_OF_DOMAIN = "P26 P40 P50 P106 P112 P127 P136 P170 P175 P176 P264 P407 P413 P800"
IDS = IN_DOMAIN.split() + OUT_OF_DOMAIN.split()
STOP_WORDS_TEXT = """
a an the of in on at by to for from with as and or is was are were be been has have had
it its that which who whom whose where when there this these those one
"""
STOP_WORDS = frozenset(STOP_WORDS_TEXT.split())
MAX_SAME_ENDING = 4

RELATIONS: dict[str, dict[str, list[str]]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))


def words(template: str) -> list[str]:
    """Lower-case words of a template; the subject is the word SUBJECT, punctuation and articles are gone."""
    plain = re.sub(r"[^\w\s]", "", template.lower().replace("{subject}", "SUBJECT"))
    return [word for word in plain.split() if word not in ("a", "an", "the")]


def content(template: str) -> frozenset[str]:
    """The set of words that carry the meaning of a template."""
    return frozenset(words(template)) - STOP_WORDS - {"SUBJECT", "SUBJECTs"}


def test_file_has_every_relation_with_a_name() -> None:
    assert sorted(RELATIONS) == sorted(IDS)
    assert all(
        entry["name"] and set(entry) == {"name", "domain", "question", "own_question", "templates"}
        for entry in RELATIONS.values()
    )


@pytest.mark.parametrize("relation", IDS)
def test_templates_are_well_formed(relation: str) -> None:
    templates = RELATIONS[relation]["templates"]
    assert len(templates) == 21
    for template in templates:
        assert template.count("{subject}") == 1 and template.count("{") == template.count("}") == 1, template
        assert template == " ".join(template.split()), f"white space: {template!r}"
        assert template[-1].isalpha() or template.endswith("{subject}"), f"end of {template!r}"
        assert template[0].isupper() or template.startswith("{subject}"), f"start of {template!r}"


@pytest.mark.parametrize("relation", IDS)
def test_templates_are_paraphrases_and_not_one_sentence_with_many_openings(relation: str) -> None:
    templates = RELATIONS[relation]["templates"]
    assert len({tuple(words(template)) for template in templates}) == 21
    ending, count = Counter(tuple(words(template)[-3:]) for template in templates).most_common(1)[0]
    assert count <= MAX_SAME_ENDING, f"{count} templates end in {' '.join(ending)!r}"
    same = [pair for pair in combinations(templates, 2) if content(pair[0]) == content(pair[1])]
    assert not same


def test_no_template_serves_two_relations() -> None:
    counts = Counter(tuple(words(t)) for entry in RELATIONS.values() for t in entry["templates"])
    assert [sentence for sentence, count in counts.items() if count > 1] == []


def test_no_template_is_a_question() -> None:
    """The question wording of EntityQuestions must stay unseen by a model pretrained on these sentences."""
    starts = ("which", "where", "what", "who")
    assert not [t for entry in RELATIONS.values() for t in entry["templates"] if words(t)[0] in starts]
