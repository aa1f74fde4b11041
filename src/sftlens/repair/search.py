"""One repair from the first measurement to the choice."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sftlens.repair import choice_rule
from sftlens.repair.candidates import Candidate, listed
from sftlens.repair.choice_rule import Comparison, Scores
from sftlens.repair.inputs.halves import CHOOSING, REPORTING
from sftlens.repair.measure.measurer import Asked, Measurer
from sftlens.repair.measure.models import BASE, FINETUNED, Who

Answers = tuple[pd.DataFrame, pd.DataFrame | None]


@dataclass(frozen=True)
class Found:
    """Everything that was measured, and what was chosen."""

    asked: Asked
    known: pd.DataFrame
    """The facts as the base masters them (`Measurer.mastery`)."""
    answers: Mapping[Who, Answers]
    """BASE, FINETUNED, then each setting in the order of ties."""
    compared: Mapping[str, Mapping[Who, Comparison]]
    """Half -> each model but FINETUNED against it."""
    again: Mapping[Who, pd.DataFrame]
    """Mastery measured again, of BASE, FINETUNED and the chosen setting; empty where it was not asked for."""
    divergence: pd.DataFrame
    reverted: Mapping[Candidate, Mapping[str, float]]
    chosen: Candidate | None

    @property
    def task(self) -> bool:
        """Whether there is a task; else well-formed answers stand in for it."""
        return self.asked.tasks is not None

    def on(self, half: str) -> dict[Candidate, Comparison]:
        """Return the comparison of each setting on one half."""
        return {who: seen for who, seen in self.compared[half].items() if isinstance(who, Candidate)}

    @property
    def confirmed(self) -> bool:
        """Whether the chosen setting keeps both conditions of the rule on the reporting half."""
        seen = self.compared[REPORTING][self.chosen] if self.chosen else None
        return seen is not None and seen.gains() and seen.keeps_task(self.asked.settings.tolerance)


def find(measurer: Measurer) -> Found:
    """Measure base, fine-tuned model and all settings, and choose. Raises DataError, ModelError."""
    asked = measurer.asked
    answers: dict[Who, Answers] = {FINETUNED: measurer.answers(FINETUNED)}
    measurer.first()  # while the model is in memory
    again: dict[Who, pd.DataFrame] = {}
    if asked.settings.reprobe:
        again[FINETUNED] = measurer.again(FINETUNED)
    known = measurer.mastery()
    answers = {BASE: measurer.answers(BASE), **answers}
    divergence = measurer.divergence(known)
    if asked.settings.reprobe:
        again[BASE] = measurer.again(BASE)
    reverted = {}
    for candidate in listed(asked.settings):
        reverted[candidate] = measurer.reverted(candidate)
        answers[candidate] = measurer.answers(candidate)
    compared = {half: _compared(asked, answers, half) for half in (CHOOSING, REPORTING)}
    settings = {who: seen for who, seen in compared[CHOOSING].items() if isinstance(who, Candidate)}
    chosen = choice_rule.choose(settings, asked.settings.tolerance)
    if chosen and asked.settings.reprobe:
        again[chosen] = measurer.again(chosen)
    return Found(asked, known, answers, compared, again, divergence, reverted, chosen)


def _compared(asked: Asked, answers: Mapping[Who, Answers], half: str) -> dict[Who, Comparison]:
    facts = (asked.facts["half"] == half).to_numpy()
    task = facts if asked.tasks is None else (asked.tasks["half"] == half).to_numpy()
    scores = {who: _scores(found) for who, found in answers.items()}
    against = scores[FINETUNED]
    return {who: choice_rule.compare(found, against, facts, task) for who, found in scores.items() if who != FINETUNED}


def _scores(answers: Answers) -> Scores:
    facts, task = answers
    values = facts["well_formed"] if task is None else task["score"]
    return Scores(facts["contains"].to_numpy(dtype=np.float64), values.to_numpy(dtype=np.float64))
