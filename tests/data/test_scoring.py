"""The paper's containment, raw and case-sensitive, and the stricter readings of the same output."""

import numpy as np
import pytest

from sftlens.data.scoring import JUDGEMENTS, RAW, contains, exact, f1, first_line, word_boundary
from sftlens.tasks import DEFAULT, TASKS


@pytest.mark.parametrize(("output", "aliases", "expected"), [
    ("It is in Norway, I think.", ["Norway"], True),
    ("It is in norway.", ["Norway"], False),
    ("Norwayland", ["Norway"], True),
    ("the USA", ["United States of America", "USA"], True),
    ("Cote d'Ivoire", ["Côte d'Ivoire"], False),
    ("New  York", ["New York"], False),
    ("", ["Norway"], False),
    ("Norway", [], False),
])  # fmt: skip
def test_contains(output: str, aliases: list[str], expected: bool) -> None:
    assert contains(output, aliases) is expected


def test_aliases_may_come_from_a_table() -> None:
    assert contains("in Oslo", np.array(["Norway", "Oslo"], dtype=object))


@pytest.mark.parametrize(("output", "aliases", "expected"), [
    (" Port Vale ", ["Port Vale"], True),
    (" Port Vale. ", ["Port Vale"], False),
    ("port vale", ["Port Vale"], False),
    ("USA", ["United States of America", "USA"], True),
    ("", ["USA"], False),
])  # fmt: skip
def test_exact_leaves_out_only_the_space_around_the_output(output: str, aliases: list[str], expected: bool) -> None:
    assert exact(output, aliases) is expected


@pytest.mark.parametrize(("output", "aliases", "expected"), [
    ("It is in Norway, I think.", ["Norway"], True),
    ("Norway", ["Norway"], True),
    ("Norway's coast", ["Norway"], True),
    ("Norwayland", ["Norway"], False),
    ("South-Norway", ["Norway"], True),
    ("Norwayland and Norway", ["Norway"], True),  # the second place counts
    ("Guinea-Bissau", ["Guinea"], True),
    ("Nigeria", ["Niger", "Nigeria"], True),
    ("Nigeria", ["Niger"], False),
    ("Rome2", ["Rome"], False),
    ("Übersee", ["see"], False),  # letters of any script make a word
    ("Żary", ["ary"], False),
    ("Cafe\u0301s", ["Cafe"], False),  # a combining accent belongs to the letter before it
    ("Μεγάλη Ελλάδα", ["Ελλάδα"], True),
    ("(1896) and more", ["(1896)"], True),
    ("Paris(1896)x", ["(1896)"], True),  # an answer that ends in no letter ends anywhere
    ("", ["Norway"], False),
])  # fmt: skip
def test_word_boundary(output: str, aliases: list[str], expected: bool) -> None:
    assert word_boundary(output, aliases) is expected
    assert contains(output, aliases) or not expected


@pytest.mark.parametrize(("output", "aliases", "expected"), [
    ("Port Vale", ["Port Vale"], 1.0),
    (" the port vale. ", ["Port Vale"], 1.0),
    ("The port of Vale", ["Port Vale"], 0.8),  # precision 2/3, recall 1
    ("Vale Vale", ["Port Vale"], 0.5),  # a token counts as often as both have it
    ("Oslo", ["Port Vale", "City of Oslo"], 0.5),  # the best of the accepted
    ("Bergen", ["Oslo"], 0.0),
    ("", ["Oslo"], 0.0),
    ("The The", ["A The"], 1.0),  # articles alone leave no token on either side
    ("U.S.A.", ["USA"], 1.0),
])  # fmt: skip
def test_token_f1(output: str, aliases: list[str], expected: float) -> None:
    assert f1(output, aliases) == pytest.approx(expected)


@pytest.mark.parametrize(("output", "expected"), [
    (" Oslo", True),
    ("\n\n It is Oslo.\nQuestion: Where was B born?\nAnswer: Rome", True),
    (" Rome\nQuestion: Where was B born?\nAnswer: Oslo", False),
    (" Rome\r\nOslo", False),
    (" Rome\u2028Oslo", False),
    (" Rome Question: Where was B born? Answer: Oslo", False),  # the prompt's own opening, on the same line
    ("", False),
    (" \n ", False),
])  # fmt: skip
def test_only_the_line_of_the_answer_counts(output: str, expected: bool) -> None:
    assert first_line(output, ["Oslo"], "Question:") is expected
    assert first_line(output, ["Oslo"]) is (expected or "Rome Question" in output)


@pytest.mark.parametrize(("output", "answer", "expected"), [
    (" 5", "5", True),
    (" In 1969, on the Moon", "1969", True),
    (" 1969-70", "1969", True),
    (" it has 5.", "5", True),
    (" 5,", "5", True),
    (" 15 legs", "5", False),
    (" 0.5", "5", False),
    (" 5,000", "5", False),
    (" 5.5", "5", False),
    (" Apollo 110", "Apollo 11", False),
    (" Apollo 11", "Apollo 11", True),
    (" 15 or 5", "5", True),
    (" Oslo2", "Oslo", True),
])  # fmt: skip
def test_a_number_is_no_part_of_a_longer_one(output: str, answer: str, expected: bool) -> None:
    assert first_line(output, [answer]) is expected
    assert contains(output, [answer])  # the paper's reading


@pytest.mark.parametrize(("one", "other"), [
    ("Bogotá", "Bogota\u0301"),
    ("Buenos Aires", "Buenos\u00a0Aires"),
    ("Buenos Aires", "Buenos\u202f Aires"),
    ("N'Djamena", "N\u2019Djamena"),
    ("Hawai'i", "Hawai\u02bbi"),
    ("Guinea-Bissau", "Guinea\u2011Bissau"),
    ("Austria-Hungary", "Austria\u2013Hungary"),
    ("-5", "\u22125"),
    ('the "Fram"', "the \u201cFram\u201d"),
    ("Lima", "\u200bLi\u00adma\ufeff"),
])  # fmt: skip
def test_texts_that_look_the_same_are_the_same(one: str, other: str) -> None:
    for judge in JUDGEMENTS.values():
        assert judge(f" {one}", [other]) == judge(f" {other}", [one]) == 1
    # The paper's study compares texts as they stand, and has the other reading beside.
    assert not contains(one, [other]) and not contains(other, [one])
    of_study = TASKS.get(DEFAULT).judgements
    assert {name: of_study[name] for name in RAW} == RAW and of_study["first_line"](one, [other])


def test_an_answer_that_nobody_sees_is_in_no_output() -> None:
    assert not any(judge("Oslo", ["\u200b"]) for judge in JUDGEMENTS.values())


def test_what_looks_different_stays_different() -> None:
    for output, answer in (("oslo", "Oslo"), ("Cote d'Ivoire", "Côte d'Ivoire"), ("NewYork", "New York"), ("5", "-5")):
        assert not any(judge(output, [answer]) == 1 for name, judge in JUDGEMENTS.items() if name != "f1")


@pytest.mark.parametrize("judgement", JUDGEMENTS)
def test_every_judgement_takes_the_aliases_of_a_table(judgement: str) -> None:
    assert JUDGEMENTS[judgement]("Oslo", np.array(["Norway", "Oslo"], dtype=object)) == 1
