"""Base and fine-tuned model measured, each loaded once, and compared: all of a check, and the head of a repair."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from sftlens.diagnosis import diagnosis
from sftlens.diagnosis.diagnosis import Asked, Diagnosis
from sftlens.evaluation import divergence
from sftlens.models.delta.reader import open_tensors
from sftlens.repair.measurements import Measurements
from sftlens.repair.models import BASE, FINETUNED

SMALLER, ROW_TOKENS = 4, 64
"""For the noise of the instrument the fine-tuned model is asked again, with batches smaller by a factor. A question
with its answer is about ROW_TOKENS: so few questions that one batch would hold them all are divided, too."""
FIRST = 64
"""Elements of each tensor that are compared before whole tensors are: a fine-tuning changes some of them."""


def same_weights(first: Path, second: Path) -> bool:
    """Whether two model folders hold the same tensors, however they are spread over files. Raises ModelError."""
    left, right = open_tensors(first), open_tensors(second)
    if set(left.names) != set(right.names):
        return False
    for most in (FIRST, None):
        for name in left.names:
            if left.shape(name) != right.shape(name) or left.dtype(name) != right.dtype(name):
                return False
            if not torch.equal(*(side.get(name).reshape(-1)[:most] for side in (left, right))):
                return False
    return True


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
        measured.expect((len(missing) + 1) * measured.prompts() + measured.mastery_prompts(sampled))

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
        found.append(float(divergence.full_kl(p[None], q[None])[0]))
    return float(np.mean(found))
