"""How long a model's jobs take at most, from its geometry and a few rates that are deliberately low.

A training or a probe that runs out of time goes on where it stopped, so that no try of one asks for more than
`launch.longest_minutes`; for the other stages the estimate must suffice. It is only a limit: Slurm starts short jobs
earlier. `--set-resources RULE:runtime=MINUTES` overrides it.
"""

from math import ceil

from sftlens.config.stages.training import FinetuneSettings
from sftlens.config.study import Model, Study
from sftlens.resources import amounts
from sftlens.resources.amounts import questions, templates
from sftlens.resources.memory import STORED, parameters

READ, WRITTEN, DOWNLOADED = 0.5e9, 0.2e9, 0.05e9
"""Bytes a second of a shared file system, and of a download."""
FLOPS = {True: 1e14, False: 1e10}
"""Operations a second of one process: on a GPU (about a third of an A100's bf16 peak), on a CPU."""
EXCHANGED = {True: 2e10, False: 2e8}
"""Bytes a second between processes, on GPUs and on CPUs."""
MOVED = {True: 1e12, False: 5e9}
"""Bytes of weights a second that generation reads: half of a GPU's memory bandwidth; a CPU's."""
SAMPLE_TOKENS = 64
"""Tokens of a training sample."""
ALL_EXAMPLES = 30_000
"""Examples of the scale `all`: no mastery bucket of the published questions has more."""
ROWS = 64
"""Questions that are answered side by side."""
SHARED_PREFIXES = 6
"""How many times fewer tokens sampling needs because the samples of a prompt share their beginnings."""
PRETRAINING = 240
"""Minutes of pretraining a tiny model; the demo's takes a few."""
START, FACTOR, SHORTEST = 10.0, 3.0, 30
"""Minutes to start, factor for machines slower than the rates, and the least that is asked for, minutes."""


def training(model: Model, settings: FinetuneSettings, scale: str) -> int:
    """Return the minutes of one try of a training run."""
    gpus, world = bool(model.launch.gpus_per_node), model.launch.world_size
    work = amounts.training(model, settings, ALL_EXAMPLES if scale == "all" else int(scale), SAMPLE_TOKENS)
    computing = work.operations / (FLOPS[gpus] * min(world, settings.batch_size))
    exchanging = work.exchanged / EXCHANGED[gpus]
    needed = _minutes(_loading(model) + computing + exchanging + STORED * parameters(model.shape) / WRITTEN)
    return min(needed, model.launch.longest_minutes)


def generating(model: Model, tokens: float, models: int = 1) -> int:
    """Return the minutes of a job that loads `models` models and lets them generate so many tokens."""
    gpus = bool(model.launch.gpus_per_node)
    generating = tokens / ROWS * STORED * parameters(model.shape) / MOVED[gpus]
    return _minutes(models * _loading(model) + generating)


def probing(study: Study, model: Model, processes: int = 1) -> int:
    """Return the minutes of one try of measuring mastery, by so many processes side by side."""
    asked = sum(questions(study).values()) * templates(study, model)
    drawn = asked * study.probing.samples * study.probing.max_new_tokens
    return min(generating(model, drawn / SHARED_PREFIXES / processes), model.launch.longest_minutes)


def answering(study: Study, model: Model, scale: str) -> int:
    """Return the minutes of answering all questions, and those of the training set."""
    asked = questions(study)
    trained = min(asked["train"], ALL_EXAMPLES) if scale == "all" else int(scale or 0)
    answers = (asked["test"] + asked["testood"] + trained) * study.evaluation.max_new_tokens
    again = study.evaluation.reprobe * templates(study, model) * study.probing.samples * study.probing.max_new_tokens
    return generating(model, answers + again / SHARED_PREFIXES, models=2)


def completing(study: Study, model: Model) -> int:
    """Return the minutes of the divergence: every template of the test and train facts completed once."""
    return generating(model, sum(questions(study).values()) * templates(study, model))


def fetching(model: Model) -> int:
    """Return the minutes of a base model: of pretraining a tiny one, or of reading (or downloading) its files."""
    if model.source == "pretrain":
        return PRETRAINING
    return _minutes(STORED * parameters(model.shape) / (DOWNLOADED if model.source == "hub" else READ))


def comparing(model: Model) -> int:
    """Return the minutes of reading two models twice."""
    return _minutes(4 * _loading(model))


def _loading(model: Model) -> float:
    return STORED * parameters(model.shape) / READ


def _minutes(seconds: float) -> int:
    return max(SHORTEST, ceil(START + FACTOR * seconds / 60))
