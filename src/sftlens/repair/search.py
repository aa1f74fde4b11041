"""One repair from the first measurement to the choice."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sftlens.repair import choice_rule
from sftlens.repair.choice_rule import Comparison, Scores
from sftlens.repair.measurements import Answers, Measurements, RepairInputs
from sftlens.repair.models import BASE, FINETUNED, Candidate, ModelKey, candidates
from sftlens.repair.user_files import CHOOSING, REPORTING


@dataclass(frozen=True)
class Repair:
    """Everything that was measured, and what was chosen."""

    inputs: RepairInputs
    mastery: pd.DataFrame
    """The facts as the base masters them (`Measurements.mastery`)."""
    answers: Mapping[ModelKey, Answers]
    """BASE, FINETUNED, then each setting in the order in which ties are decided."""
    compared: Mapping[str, Mapping[ModelKey, Comparison]]
    """Half -> each model but FINETUNED against it."""
    mastery_again: Mapping[ModelKey, pd.DataFrame]
    """Mastery measured again, of BASE, FINETUNED and the chosen setting; empty with `reprobe` 0."""
    divergence: pd.DataFrame
    reverted: Mapping[Candidate, Mapping[str, float]]
    chosen: Candidate | None

    @property
    def has_task(self) -> bool:
        """Whether there is a task; else well-formed answers are its stand-in."""
        return self.inputs.tasks is not None

    def settings_on(self, half: str) -> dict[Candidate, Comparison]:
        """Return the comparison of each setting on one half."""
        return {key: seen for key, seen in self.compared[half].items() if isinstance(key, Candidate)}

    @property
    def confirmed(self) -> bool:
        """Whether the chosen setting keeps both conditions of the rule on the reporting half."""
        seen = self.compared[REPORTING][self.chosen] if self.chosen else None
        return seen is not None and seen.gains() and seen.keeps_task(self.inputs.settings.tolerance)


def search(measurements: Measurements) -> Repair:
    """Measure base, fine-tuned model and all settings, and choose. Raises DataError, ModelError."""
    inputs = measurements.inputs
    tolerance, reprobe = inputs.settings.tolerance, inputs.settings.reprobe
    # Model by model, as each is loaded once: the fine-tuned one, the base, each setting.
    finetuned = measurements.answers(FINETUNED)
    measurements.first_tokens()
    again: dict[ModelKey, pd.DataFrame] = {FINETUNED: measurements.mastery_again(FINETUNED)} if reprobe else {}
    mastery = measurements.mastery()
    answers: dict[ModelKey, Answers] = {BASE: measurements.answers(BASE), FINETUNED: finetuned}
    divergence = measurements.divergence(mastery)
    if reprobe:
        again[BASE] = measurements.mastery_again(BASE)
    reverted = {}
    for candidate in candidates(inputs.settings):
        reverted[candidate] = measurements.reverted(candidate)
        answers[candidate] = measurements.answers(candidate)

    scores = {}
    for key, (facts, task) in answers.items():
        values = facts["well_formed"] if task is None else task["score"]
        scores[key] = Scores(facts["first_line"].to_numpy(dtype=np.float64), values.to_numpy(dtype=np.float64))
    compared: dict[str, dict[ModelKey, Comparison]] = {}
    for half in (CHOOSING, REPORTING):
        facts_of_half = (inputs.facts["half"] == half).to_numpy()
        task_of_half = facts_of_half if inputs.tasks is None else (inputs.tasks["half"] == half).to_numpy()
        compared[half] = {
            key: choice_rule.compare(found, scores[FINETUNED], facts_of_half, task_of_half)
            for key, found in scores.items()
            if key != FINETUNED
        }
    repair = Repair(inputs, mastery, answers, compared, again, divergence, reverted, None)
    chosen = choice_rule.choose(repair.settings_on(CHOOSING), tolerance)
    if chosen and reprobe:
        again[chosen] = measurements.mastery_again(chosen)
    return replace(repair, chosen=chosen)
