"""Containment: raw, case-sensitive, any accepted string."""

import numpy as np
import pytest

from sftlens.matching import contains


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
