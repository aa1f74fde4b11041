"""The memory and the time that the models of a study need, as tables for people."""

from collections.abc import Sequence

from sftlens.config.study import Model, Study
from sftlens.resources import memory, time_limits
from sftlens.resources.requests import Resources

HEADS = {
    "training": (
        "model", "parameters", "nodes x GPUs", "weights", "gradients", "optimiser", "activations", "GPU", "node"
    ),
    "measuring": ("model", "GPUs", "node", "mastery", "evaluation", "divergence", "training, n = 1,920"),
}  # fmt: skip


def describe(study: Study) -> str:
    """Return Markdown: what every model of a study needs for training (GB a process) and for being measured."""
    finetuning = study.finetuning
    of = memory.BYTES[finetuning.dtype]
    text = [
        f"Training with {finetuning.dtype} and ZeRO stage {finetuning.zero_stage}: {of.weights} + {of.gradients} + "
        f"{of.optimizer} + {of.step} bytes a parameter (weights, gradients, optimiser with fp32 weights, fp32 "
        "gradients while the step is made). GB of one process, and of one node's main memory:",
        "",
        *_table(HEADS["training"], [_training(study, name) for name in study.models]),
        "",
        "The other jobs: GPUs, GB of main memory, and the most minutes that are asked for:",
        "",
        *_table(HEADS["measuring"], [_measuring(study, name) for name in study.models]),
    ]
    return "\n".join(text)


def _training(study: Study, name: str) -> list[str]:
    model, launch = study.models[name], study.models[name].launch
    need = memory.training(model.shape, study.finetuning, launch.world_size)
    gpus = bool(launch.gpus_per_node)
    node = memory.training_node(model.shape, study.finetuning, launch.nodes, launch.processes_per_node, gpus)
    where = f"{launch.nodes} x {launch.gpus_per_node}" if gpus else f"{launch.nodes} x CPU"
    parts = (need.weights, need.gradients, need.optimizer + need.step, need.activations)
    device = f"{_gb(need.device)} of {launch.gpu_memory_gb}" if gpus else "-"
    return [name, f"{memory.parameters(model.shape) / 1e9:.2f}e9", where, *map(_gb, parts), device, _gb(node)]


def _measuring(study: Study, name: str) -> list[str]:
    model = study.models[name]
    gpus = Resources(study).gpus(model)
    node = memory.measuring(model.shape, Resources(study).tokens, gpus=gpus)
    return [name, str(gpus), _gb(node), *map(str, _minutes(study, model))]


def _minutes(study: Study, model: Model) -> list[int]:
    return [
        time_limits.probing(study, model, Resources(study).probers(model)),
        time_limits.answering(study, model, "1920"),
        time_limits.completing(study, model),
        time_limits.training(model, study.finetuning, "1920"),
    ]


def _gb(count: float) -> str:
    return f"{count / memory.GB:.1f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---", *("--:" for _ in head[1:])], *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
