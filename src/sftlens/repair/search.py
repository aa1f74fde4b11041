"""One repair from the first measurement to the choice."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sftlens.config.check import LOST_POINTS
from sftlens.diagnosis.diagnosis import Diagnosis
from sftlens.repair import choice_rule, diagnosing
from sftlens.repair.choice_rule import Comparison, Scores
from sftlens.repair.measurements import Answers, Measurements
from sftlens.repair.models import BASE, FINETUNED, Candidate, ModelKey
from sftlens.repair.prompting import RepairInputs
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
    divergence: Mapping[ModelKey, pd.DataFrame]
    """KL to the base of the first answer token, of FINETUNED and of the chosen setting."""
    reverted: Mapping[Candidate, Mapping[str, float]]
    diagnosis: Diagnosis
    """The fine-tuned model against the base, before anything was tried: mastery is that of the facts measured again."""
    chosen: Candidate | None
    base_against_chosen: Comparison | None
    """The base against the chosen setting, on the reporting half."""
    adapter: Comparison | None = None
    """The adapter that is written of the chosen setting, against that setting itself, on the reporting half."""

    @property
    def has_task(self) -> bool:
        """Whether there is a task; else well-formed answers are its stand-in."""
        return self.inputs.tasks is not None

    def settings_on(self, half: str) -> dict[Candidate, Comparison]:
        """Return the comparison of each setting on one half."""
        return {key: seen for key, seen in self.compared[half].items() if isinstance(key, Candidate)}

    @property
    def base_as_good(self) -> bool:
        """Whether the base does as well as the chosen setting, so that the examples cannot tell the two apart."""
        return self.base_against_chosen is not None and choice_rule.as_good(self.base_against_chosen)

    @property
    def written(self) -> Candidate | None:
        """The setting that a model is written of: the chosen one, unless the task's examples do not recommend it."""
        return None if self.has_task and self.base_as_good else self.chosen

    @property
    def confirmed(self) -> bool:
        """Whether the chosen setting keeps both conditions of the rule on the reporting half, and the base does not."""
        seen = self.compared[REPORTING][self.chosen] if self.chosen else None
        holds = seen is not None and seen.gains() and seen.keeps_task(self.inputs.settings.tolerance)
        return holds and not self.base_as_good


def search(measurements: Measurements, diagnosed: Callable[[Diagnosis], object] = lambda found: None) -> Repair:
    """Measure base, fine-tuned model and all settings, and choose. Raises DataError, ModelError.

    `diagnosed` is called with what fine-tuning cost and gave, before any setting is tried.
    """
    inputs = measurements.inputs
    tolerance, reprobe = inputs.settings.tolerance, inputs.settings.reprobe
    # Model by model, as each is loaded once: the fine-tuned one, the base, the fine-tuned one again for all settings.
    tolerances = {} if inputs.tasks is None else dict.fromkeys(inputs.tasks["task"], tolerance)
    found = diagnosing.diagnose(measurements, LOST_POINTS / 100, tolerances, reprobed=True)
    diagnosed(found)
    mastery = measurements.mastery()
    answers: dict[ModelKey, Answers] = {key: measurements.answers(key) for key in (BASE, FINETUNED)}
    again: dict[ModelKey, pd.DataFrame] = {key: measurements.mastery_again(key) for key in (FINETUNED, BASE) if reprobe}
    divergence: dict[ModelKey, pd.DataFrame] = {FINETUNED: measurements.divergence(mastery)}
    candidates = measurements.models.candidates
    answers |= _tried(measurements, candidates)
    reverted = {candidate: measurements.reverted(candidate) for candidate in candidates}

    scores = {key: scored(found) for key, found in answers.items()}
    compared: dict[str, dict[ModelKey, Comparison]] = {}
    parts = {}
    for half, level in ((CHOOSING, choice_rule.level_of(len(candidates))), (REPORTING, 0.95)):
        facts_of_half = (inputs.facts["half"] == half).to_numpy()
        task_of_half = facts_of_half if inputs.tasks is None else (inputs.tasks["half"] == half).to_numpy()
        parts[half] = facts_of_half, task_of_half
        compared[half] = {
            key: choice_rule.compare(found, scores[FINETUNED], *parts[half], level)
            for key, found in scores.items()
            if key != FINETUNED
        }
    settings = {key: seen for key, seen in compared[CHOOSING].items() if isinstance(key, Candidate)}
    chosen, base, adapter = choice_rule.choose(settings, tolerance), None, None
    if chosen:
        base = choice_rule.compare(scores[BASE], scores[chosen], *parts[REPORTING])
        if reprobe:
            again[chosen] = measurements.mastery_again(chosen)
        measurements.first_tokens(chosen)
        if inputs.settings.save_as == "adapter":
            made = scored(measurements.answers(replace(chosen, rank=inputs.settings.rank)))
            adapter = choice_rule.compare(made, scores[chosen], *parts[REPORTING])
        divergence[chosen] = measurements.divergence(mastery, chosen)
    return Repair(inputs, mastery, answers, compared, again, divergence, reverted, found, chosen, base, adapter)


def scored(answers: Answers) -> Scores:
    """Return what a model scores on each example."""
    facts, task = answers
    values = facts["well_formed"] if task is None else task["score"]
    return Scores(facts["first_line"].to_numpy(dtype=np.float64), values.to_numpy(dtype=np.float64))


def _tried(measurements: Measurements, candidates: Sequence[Candidate]) -> dict[ModelKey, Answers]:
    """Return the answers of every setting, saying how many are left and how long they will take."""
    missing = [candidate for candidate in candidates if not measurements.answered(candidate)]
    measurements.expect(len(missing) * measurements.prompts())
    started = time.monotonic()
    for number, candidate in enumerate(missing):
        left = (time.monotonic() - started) / number * (len(missing) - number) if number else 0.0
        about = (
            f", about {left / 60:,.0f} min left" if left >= 60 else f", about {left:.0f} s left" if left >= 1 else ""
        )
        measurements.say(f"setting {number + 1} of {len(missing)}{about}")
        measurements.answers(candidate)
    return {candidate: measurements.answers(candidate) for candidate in candidates}
