"""One repair from the first measurement to the choice; a check is its head, the diagnosis of base and fine-tuned."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from sftlens.config.check import LOST_POINTS
from sftlens.diagnosis import diagnosis
from sftlens.diagnosis.diagnosis import Asked, Diagnosis
from sftlens.evaluation.divergence import full_kl
from sftlens.repair import choice_rule
from sftlens.repair.choice_rule import Comparison, Scores
from sftlens.repair.measurements import Answers, Measurements
from sftlens.repair.models import BASE, FINETUNED, Candidate, ModelKey
from sftlens.repair.prompting import RepairInputs
from sftlens.repair.user_files import CHOOSING, REPORTING

SMALLER, ROW_TOKENS = 4, 64
"""For the noise of the instrument the fine-tuned model is asked again, with batches smaller by a factor. A question
with its answer is about ROW_TOKENS: so few questions that one batch would hold them all are divided, too."""


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


def diagnose(
    measured: Measurements,
    tolerance: float,
    task_tolerances: Mapping[str, float],
    *,
    reprobed: bool = False,
    floor_facts: int = 0,
) -> Diagnosis:
    """Measure both models, the fine-tuned one first, and compare them. Raises DataError, ModelError.

    Args:
        measured: the measurements.
        tolerance: how much knowledge may be lost and still counts as kept, a share.
        task_tolerances: the same of the score of each task, by its name (column `task` of the examples).
        reprobed: knowledge is judged by the mastery of a sample, measured again (`reprobe`; 0: by the answers); else
            by that of all facts, for whose samples both models take the same random numbers (`draws`).
        floor_facts: facts whose mastery is measured a second time; answers, tasks and first tokens all are.
    """
    inputs, repeated = measured.inputs, in_other_batches(measured)
    facts, tasks = len(inputs.facts), inputs.tasks
    floor = min(floor_facts, facts)
    if missing := [key for key in (BASE, FINETUNED) if not measured.answered(key)]:
        sampled = facts + floor + (2 * min(inputs.settings.reprobe, facts) if reprobed else facts)
        measured.bar.reset((len(missing) + 1) * measured.prompts() + measured.mastery_prompts(sampled))

    def known(key: str) -> pd.DataFrame | None:
        if reprobed:
            return measured.mastery_again(key) if inputs.settings.reprobe else None
        return measured.mastery(key)

    def asked(source: Measurements, key: str, mastery: Callable[[str], pd.DataFrame | None]) -> Asked:
        answers, scores = source.answers(key)
        return Asked(answers, mastery(key), scores)

    # Model by model, as each is loaded once.
    after = asked(measured, FINETUNED, known)
    first = measured.first_tokens()
    again = asked(repeated, FINETUNED, lambda key: repeated.mastery(key, floor) if floor else None)
    kl_floor = own_divergence(first, repeated.first_tokens())
    before, mastery = asked(measured, BASE, known), measured.mastery()
    return diagnosis.diagnose(
        inputs.facts,
        before,
        after,
        tolerance=tolerance,
        again=again,
        tasks=None if tasks is None else tasks.set_index("task_id")["task"],
        task_tolerances=task_tolerances,
        buckets=mastery.set_index("fact_id")["bucket"],
        kl=measured.divergence(mastery),
        kl_floor=kl_floor,
    )


def in_other_batches(measured: Measurements) -> Measurements:
    """Return the same measurements in smaller batches, by which the noise of the instrument is told."""
    settings = measured.inputs.settings
    largest = min(settings.batch_tokens, ROW_TOKENS * len(measured.inputs.facts))
    smaller = settings.model_copy(update={"batch_tokens": max(1, largest // SMALLER)})
    inputs, note = replace(measured.inputs, settings=smaller), " (again, in other batches: the noise)"
    return replace(measured, inputs=inputs, state=measured.state / "again", note=note)


def own_divergence(first: pd.DataFrame, second: pd.DataFrame) -> float:
    """Return the mean KL of two measurements of the first tokens of one model, over the tokens that both list."""
    found = []
    for tokens, logits, others, again in zip(
        first["tokens"], first["logits"], second["tokens"], second["logits"], strict=True
    ):
        known = dict(zip(others, again, strict=True))
        pairs = [(value, known[token]) for token, value in zip(tokens, logits, strict=True) if token in known]
        p, q = torch.tensor(np.array(pairs, dtype=np.float32).T)
        found.append(float(full_kl(p[None], q[None])[0]))
    return float(np.mean(found))


def search(measurements: Measurements, diagnosed: Callable[[Diagnosis], object] = lambda found: None) -> Repair:
    """Measure base, fine-tuned model and all settings, and choose. Raises DataError, ModelError.

    `diagnosed` is called with what fine-tuning cost and gave, before any setting is tried.
    """
    inputs = measurements.inputs
    tolerance, reprobe = inputs.settings.tolerance, inputs.settings.reprobe
    # Model by model, as each is loaded once: the fine-tuned one, the base, the fine-tuned one again for all settings.
    tolerances = {} if inputs.tasks is None else dict.fromkeys(inputs.tasks["task"], tolerance)
    found = diagnose(measurements, LOST_POINTS / 100, tolerances, reprobed=True)
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
    measurements.bar.reset(len(missing) * measurements.prompts())
    started = time.monotonic()
    for number, candidate in enumerate(missing):
        left = (time.monotonic() - started) / number * (len(missing) - number) if number else 0.0
        about = (
            f", about {left / 60:,.0f} min left" if left >= 60 else f", about {left:.0f} s left" if left >= 1 else ""
        )
        measurements.say(f"setting {number + 1} of {len(missing)}{about}")
        measurements.answers(candidate)
    return {candidate: measurements.answers(candidate) for candidate in candidates}
