"""The paper's containment, raw and case-sensitive, and the stricter readings of the same output."""

import numpy as np
import pytest

from sftlens.data.scoring import JUDGEMENTS, contains, exact, f1, word_boundary


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


@pytest.mark.parametrize("judgement", JUDGEMENTS)
def test_every_judgement_takes_the_aliases_of_a_table(judgement: str) -> None:
    assert JUDGEMENTS[judgement]("Oslo", np.array(["Norway", "Oslo"], dtype=object)) == 1
