"""A corpus about real facts: exposures are ours, the facts are those of a sample of EntityQuestions."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from sftlens.config.stages.data import WorldSettings
from sftlens.data.entity_questions import Item
from sftlens.errors import DataError
from sftlens.synthetic.world_facts import Fact, Role, World, draw_exposures, stream

if TYPE_CHECKING:
    import pandas as pd

Spare = Mapping[str, Sequence[Item]]
"""For each relation of the study the facts that it does not ask about."""


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
    columns = ("relation", "subject", "object", "split", "question")
    asked: list[tuple[str, str, str, Role, str]] = list(zip(*(facts[name] for name in columns), strict=True))
    every = asked + list(_drawn(settings, spare, set(facts["subject"])))
    exposures = draw_exposures(settings, [role for *_, role, _ in every])
    made = (Fact(*row[:4], exposure, row[4]) for row, exposure in zip(every, exposures, strict=True))
    return World(settings, tuple(made))


def _drawn(settings: WorldSettings, spare: Spare, taken: set[str]) -> Iterator[tuple[str, str, str, Role, str]]:
    extra: list[Role] = ["extra"] * settings.extra
    calibration: list[Role] = ["calibration"] * settings.calibration
    roles = extra + calibration
    for relation, items in spare.items():
        free = list({item.subject: item for item in items if item.subject not in taken}.values())
        if len(free) < len(roles):
            raise DataError(
                f"{relation}: {len(free)} dev facts about subjects that are not asked about, but world.extra + "
                f"world.calibration = {len(roles)}; lower these or facts.sample, or add dev facts"
            )
        order = stream(settings.seed, f"spare {relation}").permutation(len(free)).tolist()
        for role, place in zip(roles, order, strict=False):
            item = free[place]
            taken.add(item.subject)
            yield relation, item.subject, item.answers[0], role, item.question
