"""The memory and the time that the models of a study need, as tables for people."""

from collections.abc import Sequence

from sftlens.config.study import Study
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
    finetuning, resources = study.finetuning, Resources(study)
    of = memory.BYTES[finetuning.dtype]
    training, measuring = [], []
    for name, model in study.models.items():
        launch, gpus = model.launch, resources.gpus(model)
        need = memory.training(model.shape, finetuning, launch.world_size)
        node = memory.training_node(model.shape, finetuning, launch)
        where = f"{launch.nodes} x {launch.gpus_per_node or 'CPU'}"
        parts = (need.weights, need.gradients, need.optimizer + need.step, need.activations)
        device = f"{_gb(need.device)} of {launch.gpu_memory_gb}" if launch.gpus_per_node else "-"
        count = f"{memory.parameters(model.shape) / 1e9:.2f}e9"
        training.append([name, count, where, *map(_gb, parts), device, _gb(node)])
        minutes = (
            time_limits.probing(study, model, resources.probers(model)),
            time_limits.answering(study, model, "1920"),
            time_limits.completing(study, model),
            time_limits.training(model, finetuning, "1920"),
        )
        node = memory.measuring(model.shape, resources.tokens, gpus=gpus)
        measuring.append([name, str(gpus), _gb(node), *map(str, minutes)])
    text = [
        f"Training with {finetuning.dtype} and ZeRO stage {finetuning.zero_stage}: {of.weights} + {of.gradients} + "
        f"{of.optimizer} + {of.step} bytes a parameter (weights, gradients, optimiser with fp32 weights, fp32 "
        "gradients while the step is made). GB of one process, and of one node's main memory:",
        "",
        *_table(HEADS["training"], training),
        "",
        "The other jobs: GPUs, GB of main memory, and the most minutes that are asked for:",
        "",
        *_table(HEADS["measuring"], measuring),
    ]
    return "\n".join(text)


def _gb(count: float) -> str:
    return f"{count / memory.GB:.1f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---", *("--:" for _ in head[1:])], *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
