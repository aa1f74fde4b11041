"""Small models for tests of restoration: awkward values, many ties, as safetensors folders."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from sftlens.config.stages.restoration import RestorationSettings
from sftlens.models.safetensors_reader import TensorFolder
from sftlens.restoration import criteria, topk
from sftlens.restoration.pairs import Pair

SETTINGS = RestorationSettings()
# Zeros of both signs, subnormals of fp32 and bf16, neighbours of epsilon, few values so that ties abound.
PALETTE = torch.tensor([0.0, -0.0, 1e-45, -1e-40, 9.2e-41, 1e-8, -1e-8, 1e-30, 0.5, -0.5, 0.75, 1.0, -3.0, 1e30])
SHAPES = {
    "model.layers.0.self_attn.q_proj.weight": (13, 7),
    "model.layers.10.mlp.up_proj.weight": (50,),
    "model.layers.2.mlp.down_proj.weight": (3, 5, 2),
    "model.layers.1.self_attn.k_proj.bias": (1,),
    "model.layers.1.input_layernorm.weight": (4,),
    "model.embed_tokens.weight": (6, 4),
    "lm_head.weight": (6, 4),
}
Tensors = dict[str, torch.Tensor]


def drawn(seed: int, dtype: torch.dtype) -> tuple[Tensors, Tensors]:
    """Return a base and a fine-tuned model of few distinct values, some elements unchanged."""
    generator = torch.Generator().manual_seed(seed)

    def draw(shape: tuple[int, ...]) -> torch.Tensor:
        return PALETTE[torch.randint(len(PALETTE), shape, generator=generator)].to(dtype)

    base = {name: draw(shape) for name, shape in SHAPES.items()}
    kept = {name: torch.rand(shape, generator=generator) < 0.3 for name, shape in SHAPES.items()}
    return base, {name: torch.where(kept[name], base[name], draw(base[name].shape)) for name in base}


def gaussian(seed: int, dtype: torch.dtype) -> tuple[Tensors, Tensors]:
    """Return models in which no element dominates the sums; the grid of values makes ties."""
    generator = torch.Generator().manual_seed(seed)
    base = {name: torch.randn(shape, generator=generator).mul(4).round().div(4) for name, shape in SHAPES.items()}
    steps = {name: torch.randint(-1, 2, shape, generator=generator) / 8 for name, shape in SHAPES.items()}
    shifted = {name: (tensor + 0.125).to(dtype) for name, tensor in base.items()}
    return shifted, {name: (tensor + steps[name]).to(dtype) for name, tensor in shifted.items()}


def saved(folder: Path, tensors: Tensors) -> TensorFolder:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    return TensorFolder(folder)


def pair_of(tmp_path: Path, base: Tensors, finetuned: Tensors, region: str = "transformer", piece: int = 7) -> Pair:
    return Pair(saved(tmp_path / "base", base), saved(tmp_path / "ft", finetuned), region, piece)


def cuts_of(pair: Pair, criterion: str, ratios: list[float]) -> list[topk.Cut]:
    ranked = criteria.make(criterion, SETTINGS)
    return topk.select(pair, ranked, ratios)
