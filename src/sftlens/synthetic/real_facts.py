"""A corpus about real facts: exposures are ours, the facts are those of a sample of EntityQuestions."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from sftlens.config.world import WorldSettings
from sftlens.data.relations import RELATIONS
from sftlens.errors import DataError
from sftlens.synthetic.world_facts import Fact, Role, World, draw_exposures, stream

if TYPE_CHECKING:
    import pandas as pd

Spare = Mapping[str, Sequence[tuple[str, str]]]
"""For each relation the (subject, object) pairs of published facts that the study may not ask about."""


def sampled(settings: WorldSettings, facts: "pd.DataFrame", spare: Spare) -> World:
    """Return a world whose train, dev, test and testood facts are real ones.

    Unlike the invented world's, real answers may stand inside subjects or inside one another.

    Args:
        settings: exposures, and the numbers of extra and calibration facts of each relation.
        facts: the study's facts (columns split, relation, subject, object).
        spare: facts to draw the extra and calibration facts from; subjects that have a role are skipped.

    Raises:
        DataError: a relation has too few spare facts.
    """
    columns = ("relation", "subject", "object", "split")
    asked: list[tuple[str, str, str, Role]] = list(zip(*(facts[name] for name in columns), strict=True))
    every = asked + list(_drawn(settings, spare, set(facts["subject"])))
    exposures = draw_exposures(settings, [role for *_, role in every])
    return World(settings, tuple(Fact(*row, exposure) for row, exposure in zip(every, exposures, strict=True)))


def _drawn(settings: WorldSettings, spare: Spare, taken: set[str]) -> Iterator[tuple[str, str, str, Role]]:
    extra: list[Role] = ["extra"] * settings.extra
    calibration: list[Role] = ["calibration"] * settings.calibration
    roles = extra + calibration
    for relation in RELATIONS:
        new = {subject: answer for subject, answer in spare[relation] if subject not in taken}
        free = list(new.items())
        if len(free) < len(roles):
            raise DataError(
                f"EntityQuestions: dev file of {relation}: {len(free)} facts about unused subjects, but "
                f"world.extra + world.calibration = {len(roles)}; lower these or facts.sample"
            )
        order = stream(settings.seed, f"spare {relation}").permutation(len(free)).tolist()
        for role, place in zip(roles, order, strict=False):
            subject, answer = free[place]
            taken.add(subject)
            yield relation, subject, answer, role
