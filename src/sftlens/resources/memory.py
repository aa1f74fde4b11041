"""Memory of a model's jobs from its geometry: the table of bytes per parameter, and what else counts.

Everything is an estimate from arithmetic, in bytes; `sftlens requirements` prints it for a study. ZeRO divides
a part among the processes from the stage on that `BytesPerParameter` names (arXiv 1910.02054, table 1).
"""

from dataclasses import dataclass
from math import ceil

from sftlens.config.stages.model import CONVERTED_WHOLE, Geometry, Launch
from sftlens.config.stages.training import FinetuneSettings
from sftlens.config.study import Model, Study

MB, GB = 10**6, 10**9
STORED = 2
"""Bytes of a stored parameter: base models come in 16 bits."""
PROCESS = 1.0 * GB
"""Python, torch, transformers and DeepSpeed in the main memory, and what a CUDA context adds to it."""
SNAKEMAKE = 0.3 * GB
"""The two Snakemake processes that stand around every Slurm job."""
DEVICE = 5.0 * GB
"""CUDA context, NCCL, DeepSpeed's buckets and gathered parameters, fragmentation: on every GPU."""
LOADED = 8
"""Tensors in memory while a model is loaded: four that threads of transformers hold, a check in fp32, a change."""
SUB_GROUP = 1_000_000_000
"""Parameters of a process that stage 3 steps at a time (DeepSpeed's default sub_group_size)."""
SUPERVISED_TOKENS = 32
"""Tokens of a sample that are thought to carry the loss; only these reach the output layer."""
SLACK = 1.2
"""Factor on every request to Slurm."""
GROWTH, LARGEST = 0.5, 2.0
"""A job that failed asks for so much more each time, up to this factor: what ran out of memory gets another chance."""


@dataclass(frozen=True)
class BytesPerParameter:
    """What mixed-precision AdamW holds for every parameter of a model."""

    weights: int
    """Shared by the processes at ZeRO stage 3."""
    gradients: int
    """Shared from stage 2 on."""
    optimizer: int
    """fp32 master weights and the two moments; shared from stage 1 on."""
    step: int
    """fp32 gradients while the step is made; shared as the optimiser, at stage 3 a group of parameters at a time."""


BYTES = {"bfloat16": BytesPerParameter(2, 2, 12, 4), "float32": BytesPerParameter(4, 4, 12, 0)}
"""By `finetuning.dtype`. DeepSpeed keeps a copy of the weights for its optimiser in fp32, too."""


def largest_tensor(geometry: Geometry) -> int:
    """Return the number of elements of the largest tensor."""
    widths = geometry.vocab_size, geometry.intermediate_size, geometry.heads * geometry.head_width
    return geometry.hidden_size * max(widths)


@dataclass(frozen=True)
class Training:
    """Bytes that one process of a training run holds, on its device and in the main memory."""

    weights: float
    gradients: float
    optimizer: float
    step: float
    activations: float
    offloaded: float
    """What of these is in the main memory instead of the GPU's."""
    loading: float
    """What the main memory holds of the weights while they are read; at stage 3 in the first process only."""

    @property
    def device(self) -> float:
        """Bytes of GPU memory of a process."""
        held = self.weights + self.gradients + self.optimizer + self.step + self.activations
        return held - self.offloaded + DEVICE

    @property
    def host(self) -> float:
        """Bytes of main memory of a process that computes on a GPU, once the weights are read."""
        return PROCESS + self.offloaded

    @property
    def cpu(self) -> float:
        """Bytes of main memory of a process that computes on a CPU, once the weights are read."""
        return self.device - DEVICE + self.offloaded + PROCESS


def training(geometry: Geometry, settings: FinetuneSettings, processes: int) -> Training:
    """Return what each of `processes` processes needs to fine-tune a model."""
    count, of, stage = geometry.parameters, BYTES[settings.dtype], settings.zero_stage
    weights = count * of.weights / (processes if stage >= 3 else 1)
    gradients = count * of.gradients / (processes if stage >= 2 else 1)
    optimizer = count * of.optimizer / (processes if stage >= 1 else 1)
    step = count * of.step / (processes if stage >= 1 else 1)
    step = min(step, SUB_GROUP * of.step) if stage >= 3 else step
    moved = {"none": 0.0, "optimizer": optimizer + step, "parameters": optimizer + step + weights}[settings.offload]
    whole = count * of.weights
    # Stages 0 to 2 load the whole model in every process; stage 3 one tensor at a time.
    loading = 2.0 * of.weights * largest_tensor(geometry) if stage >= 3 else whole
    return Training(weights, gradients, optimizer, step, activations(geometry, settings, processes), moved, loading)


def activations(geometry: Geometry, settings: FinetuneSettings, processes: int) -> float:
    """Return what a process keeps of one micro-batch for the backward pass, bytes.

    Per token and layer: about ten hidden and four feed-forward vectors; with gradient checkpointing one
    hidden vector, and all of it for one layer at a time. And the fp32 logits of the supervised tokens, thrice.
    """
    share = ceil(settings.batch_size / processes)
    samples = min(share, settings.micro_batch_size or share)
    size = BYTES[settings.dtype].weights
    layer = samples * settings.max_length * (10 * geometry.hidden_size + 4 * geometry.intermediate_size) * size
    kept = samples * settings.max_length * geometry.hidden_size * size
    layers = geometry.layers * kept + layer if settings.gradient_checkpointing else geometry.layers * layer
    return layers + 3 * 4 * samples * SUPERVISED_TOKENS * geometry.vocab_size


def training_node(geometry: Geometry, settings: FinetuneSettings, launch: Launch) -> float:
    """Return the main memory of one node of a training run, bytes."""
    per_node, need = launch.processes_per_node, training(geometry, settings, launch.world_size)
    starter = PROCESS * (launch.world_size > 1)
    loading = need.loading * (1 if settings.zero_stage >= 3 else per_node)
    return per_node * (need.host if launch.gpus_per_node else need.cpu) + loading + starter


def computed(study: Study, model: Model) -> int:
    """Return the bytes of a number that a model computes with: 4 where that may be fp32, known only to the job."""
    on_cpu = not model.launch.gpus_per_node
    return 4 if study.compute_dtype == "float32" or (on_cpu and study.compute_dtype == "auto") else STORED


def recipe(study: Study, model: Model, train_set: str | None = None) -> FinetuneSettings:
    """Return how a model is fine-tuned (on a training set), with the type that training may compute in."""
    settings = study.finetuning_on(train_set) if train_set else study.finetuning
    return settings.model_copy(update={"dtype": "float32"}) if computed(study, model) > STORED else settings


def measuring(study: Study, model: Model) -> float:
    """Return the main memory of a job that loads a model and asks it, bytes.

    The tensors are read one by one. On GPUs these hold the model, and the main memory what is on its way to them. On a
    CPU that computes in fp32 a large model stays as it is stored, and a layer of it is converted at a time.
    """
    geometry, size = model.shape, computed(study, model)
    moving = LOADED * STORED * largest_tensor(geometry)
    if gpus(study, model):
        return PROCESS + moving
    count = geometry.parameters
    whole = size == STORED or count <= CONVERTED_WHOLE
    weights = count * size if whole else count * (STORED + size / geometry.layers)
    return PROCESS + weights + generating(geometry, side_by_side(study), size) + moving


def gpus(study: Study, model: Model) -> int:
    """Return how many GPUs hold a model that is asked; 0 where it runs on CPUs."""
    if not model.launch.gpus_per_node:
        return 0
    size = computed(study, model)
    need = size * model.shape.parameters + generating(model.shape, side_by_side(study), size)
    return ceil(need / (model.launch.gpu_memory_gb * GB - DEVICE))


def probers(study: Study, model: Model) -> int:
    """Return how many processes probe a model side by side: on GPUs no more than one node has room for."""
    wanted, each = 1 if model.mastery else study.probing.processes, gpus(study, model)
    return max(1, min(wanted, model.launch.gpus_per_node // each)) if each else wanted


def side_by_side(study: Study) -> int:
    """Return how many tokens are held at once while a model is asked."""
    return max(study.probing.batch_tokens, study.evaluation.batch_tokens)


def generating(geometry: Geometry, tokens: int, size: int) -> float:
    """Return key-value cache (all layers) and activations (one layer) of `tokens` tokens without gradients, bytes.

    `size` is the bytes of a number.
    """
    cache = 2 * geometry.layers * geometry.kv_heads * geometry.head_width
    return float(size * tokens * (cache + 10 * geometry.hidden_size + 4 * geometry.intermediate_size))


def request_mb(need: float, attempt: int) -> int:
    """Return what to ask Slurm for at the given attempt (from 1), MB."""
    factor = min(1 + GROWTH * (attempt - 1), LARGEST)
    return ceil(SLACK * factor * (need + SNAKEMAKE) / MB)
