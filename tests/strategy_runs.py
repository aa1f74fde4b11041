"""Trainings of a tiny model by a strategy, and the same in a plain PyTorch loop, one sample at a time."""

import math
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file

from sftlens import strategies
from sftlens.config.stages.training import FinetuneSettings
from sftlens.data.training_sets import training_order
from sftlens.inference import prompts
from sftlens.models import checkpoints
from sftlens.training import loop
from tiny import tiny_tokenizer

SEED = 5
# Large epsilon, clipping out of reach: both Adam and clipping would hide a gradient of the wrong scale.
RECIPE = {"learning_rate": 1e-2, "epsilon": 0.1, "gradient_clipping": 1e3, "dtype": "float32"}
Weights = dict[str, torch.Tensor]


def samples(count: int = 12) -> list[prompts.Sample]:
    """Return samples of unequal lengths: 12 are a full batch and a short one of four."""
    questions = [f"Where was Ada {i} Loren born?" for i in range(count)]
    return prompts.encode_samples(
        tiny_tokenizer(), questions, [("Port Vale " * (1 + i % 4)).strip() for i in range(count)], 64
    )


def trained(base: Path, out: Path, name: str, own: dict | None = None, pilot: Path | None = None, **recipe) -> Weights:
    """Return the weights after a training by a strategy with the settings `own`."""
    group = strategies.STRATEGIES.get(name).settings_class
    given = {"model": base} | ({"pilot": pilot} if pilot else {})
    strategy = strategies.make(name, group(**own or {}), given, SEED)
    loop.finetune(base, samples(), FinetuneSettings(**RECIPE | recipe), None, out, SEED, strategy=strategy)
    return load_file(out / "model.safetensors")


Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def nll(logits: torch.Tensor, targets: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Return the summed negative log-likelihood."""
    return torch.nn.functional.cross_entropy(logits, targets, reduction="sum")


def plain(
    base: Path,
    loss: Loss = nll,
    reference: Path | None = None,
    before_step: Callable[[dict, float], None] = lambda parameters, rate: None,
    before_training: Callable[[torch.nn.Module], None] = lambda model: None,
) -> Weights:
    """Return the weights after a plain loop; `before_step` is called with the parameters and the learning rate."""
    model = checkpoints.load_model(base, dtype=torch.float32).train()
    frozen = checkpoints.load_model(reference or base, dtype=torch.float32)
    before_training(model)
    named = dict(model.named_parameters())
    optimizer = torch.optim.AdamW(
        [p for p in named.values() if p.requires_grad], lr=RECIPE["learning_rate"], eps=0.1, weight_decay=0.0
    )
    order = training_order(12, SEED)
    for number, step in enumerate([order[:8], order[8:]]):
        rate = RECIPE["learning_rate"] * (1 + math.cos(math.pi * number / 2)) / 2
        optimizer.param_groups[0]["lr"] = rate
        chosen = [samples()[i] for i in step]
        total = sum(_of(sample, model, frozen, loss) for sample in chosen)
        optimizer.zero_grad()
        (total / sum(sample.supervised for sample in chosen)).backward()
        before_step(named, rate)
        optimizer.step()
    return {name: p.detach() for name, p in named.items()}


def _of(sample: prompts.Sample, model: torch.nn.Module, frozen: torch.nn.Module, loss: Loss) -> torch.Tensor:
    targets = torch.tensor(sample.labels[1:])
    asked = targets != prompts.MASKED
    ids = torch.tensor([sample.input_ids])
    with torch.no_grad():
        reference = frozen(ids).logits[0, :-1][asked]
    return loss(model(ids).logits[0, :-1][asked], targets[asked], reference)


def distance(one: Weights, other: Weights) -> float:
    """Return the largest difference of two models' weights."""
    assert set(one) == set(other)
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def same(one: Weights, other: Weights) -> bool:
    """Whether two models are equal bit for bit."""
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)
