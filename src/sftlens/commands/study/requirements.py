"""Print the GPUs, memory and time that the models of a study need, from their geometry.

  sftlens requirements config/paper.yaml

The study's jobs request the same from Slurm, with 20 % more memory, and 50 % more in each further try
(sftlens.resources.memory has the arithmetic).
"""

from collections.abc import Sequence
from pathlib import Path

from sftlens.commands import options
from sftlens.config import loading
from sftlens.config.study import Study
from sftlens.resources import memory
from sftlens.resources.costs import Costs
from sftlens.resources.job import Job

HEADS = {
    "training": (
        "model", "parameters", "nodes x GPUs", "weights", "gradients", "optimiser", "activations", "GPU", "node"
    ),
    "measuring": ("model", "GPUs", "node", "mastery", "evaluation", "divergence", "training, n = 1,920"),
}  # fmt: skip


def main() -> None:
    parser = options.Parser(description=__doc__)
    parser.add_argument("study", type=Path, help="configuration (YAML)")
    print(describe(loading.load_file(parser.parse_args().study)))


def describe(study: Study) -> str:
    """Return Markdown: what every model of a study needs for training (GB of a process) and for being measured."""
    finetuning, costs = study.finetuning, Costs(study)
    of = memory.BYTES[finetuning.dtype]
    training, measuring = [], []
    for name, model in study.models.items():
        launch, recipe = model.launch, memory.recipe(study, model)
        need = memory.training(model.shape, recipe, launch.world_size)
        node = memory.training_node(model.shape, recipe, launch)
        where = f"{launch.nodes} x {launch.gpus_per_node or 'CPU'}"
        parts = (need.weights, need.gradients, need.optimizer + need.step, need.activations)
        device = f"{_gb(need.device)} of {launch.gpu_memory_gb}" if launch.gpus_per_node else "-"
        count = f"{model.shape.parameters / 1e9:.2f}e9"
        training.append([name, count, where, *map(_gb, parts), device, _gb(node)])
        jobs = [Job(rule, name, "D0", "1920") for rule in ("mastery", "evaluate", "divergence", "finetune")]
        node = memory.measuring(study, model)
        measuring.append([name, str(memory.gpus(study, model)), _gb(node), *(str(costs.minutes(job)) for job in jobs)])
    wide = any(memory.recipe(study, model) != finetuning for model in study.models.values())
    on_cpus = "; 4 + 4 + 12 + 0 on CPUs, where it may compute in float32" if wide else ""
    text = [
        f"Training with {finetuning.dtype} and ZeRO stage {finetuning.zero_stage}: {of.weights} + {of.gradients} + "
        f"{of.optimizer} + {of.step} bytes a parameter (weights, gradients, optimiser with fp32 weights, fp32 "
        f"gradients while the step is made){on_cpus}. GB of one process, and of one node's main memory:",
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
