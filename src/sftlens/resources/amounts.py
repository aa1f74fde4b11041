"""How much there is to do in a model's jobs: questions, sentences, tokens, operations, bytes that travel.

Shared by the limits that jobs ask a cluster for (`durations`, pessimistic) and by the plan of what a study costs
(`costs`, an expectation); each divides by rates of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from sftlens.config.study import Model, Study
from sftlens.config.training import FinetuneSettings
from sftlens.resources.memory import STORED, parameters

TEMPLATES = 21
"""Completion templates of a relation."""
ENTITY_QUESTIONS = {"train": 75_944, "test": 9_555, "testood": 11_613}
IN_DOMAIN, OUT_OF_DOMAIN = 10, 14


def questions(study: Study) -> Mapping[str, int]:
    """Return how many questions of each split a study asks, at most."""
    relations = {"train": IN_DOMAIN, "test": IN_DOMAIN, "testood": OUT_OF_DOMAIN}
    if study.facts.source == "world":
        return {split: getattr(study.world, split) * count for split, count in relations.items()}
    kept = {split: getattr(study.facts.sample, split) * count for split, count in relations.items()}
    return {split: kept[split] or ENTITY_QUESTIONS[split] for split in relations}


def sentences(study: Study, facts: int) -> int:
    """Return how many sentences probe so many facts, at most."""
    return facts * min(TEMPLATES, study.probing.max_templates or TEMPLATES)


@dataclass(frozen=True)
class Training:
    """The work of one training run, of all its processes together."""

    steps: int
    operations: float
    """Floating-point operations: 6 for each parameter and token (arXiv 2001.08361), 8 with recomputed activations."""
    exchanged: float
    """Bytes that each process sends: stage 3 gathers the weights twice a step and shares the gradients out."""


def training(model: Model, settings: FinetuneSettings, examples: int, tokens: float) -> Training:
    """Return the work of training on so many examples, of so many tokens each, in each epoch."""
    count, seen = parameters(model.shape), settings.epochs * examples
    steps = ceil(seen / settings.batch_size)
    passes = 8 if settings.gradient_checkpointing else 6
    exchanged = steps * 3.0 * STORED * count if model.launch.world_size > 1 else 0.0
    return Training(steps, passes * count * seen * tokens, exchanged)
