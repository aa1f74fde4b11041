"""A changed model as a LoRA adapter of its base: the best change of a given rank for each projection, and its error.

The change s' - p of a projection is cut to its largest singular values (Eckart and Young 1936, Psychometrika 1,
211-218), B A with B = U sqrt(S) and A = sqrt(S) V^T; the randomised range finder of Halko, Martinsson and Tropp (2011,
SIAM Review 53, 217-288) does that for large ones. Embeddings that are not tied to the output are treated alike, norms
are kept whole. What else may have changed (tied embeddings, biases, experts) stays the base's, and counts as error.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sftlens.errors import ModelError
from sftlens.files import make_readable, write_json
from sftlens.models.adapter_config import CONFIG
from sftlens.models.adapters import WEIGHTS
from sftlens.models.checkpoints import read_config
from sftlens.models.identity import TOKENIZER, copy_matching
from sftlens.models.safetensors_reader import TensorFolder
from sftlens.models.safetensors_writer import TensorSpec, write_file
from sftlens.restoration import regions
from sftlens.restoration.apply import Method

PREFIX = "base_model.model."
"""With which peft begins the names of tensors."""
EMBEDDING = "embed_tokens"
EXACT = 1024
"""Matrices with a side no longer than this are decomposed whole."""
OVERSAMPLING, ITERATIONS, SEED = 16, 4, 0
"""Of the randomised range finder: columns beyond the rank, power iterations, seed."""


@dataclass(frozen=True)
class Error:
    """What an adapter leaves out of the difference between the changed model and its base, sums in fp64."""

    share: float
    """Sum of (s'' - s')^2 by that of (s' - p)^2, s'' being the base with the adapter merged; 0 is exact."""
    worst: str
    """The tensor that contributes most to it; "" where nothing is left out."""
    left_out: tuple[str, ...]
    """Tensors that changed and that no part of the adapter stands for."""


class LowRank:
    """The base with the adapter merged, as a function of (name, fine-tuned tensor), as a `Method` is."""

    def __init__(self, method: Method, rank: int) -> None:
        """Decompose the difference between what `method` makes and the base, tensor by tensor.

        Raises ModelError as `check`.
        """
        check(method.pair.base, method.pair.finetuned)
        self._pair, self.rank = method.pair, rank
        tied = read_config(method.pair.finetuned.folder).get_text_config().tie_word_embeddings
        self.factors: dict[str, tuple[Tensor, Tensor]] = {}
        self.whole: dict[str, Tensor] = {}
        total, wrong, worst, left_out = 0.0, 0.0, ("", 0.0), []
        for name, changed in method:
            base = self._base(name, changed.dtype)
            difference = changed.float() - base.float()
            if not (size := float(difference.double().square().sum())):
                continue
            if changed.ndim == 2 and (_is_projection(name) or (_is_embedding(name) and not tied)):
                self.factors[name] = tuple(part.to(changed.dtype) for part in _factors(difference, rank))  # type: ignore[assignment]
            elif changed.ndim == 1 and "norm" in name:
                self.whole[name] = changed.clone()
            else:
                left_out.append(name)
            missed = float((self(name, changed).double() - changed.double()).square().sum())
            total, wrong = total + size, wrong + missed
            worst = max(worst, (name, missed), key=lambda found: found[1])
        self.error = Error(wrong / total if total else 0.0, worst[0], tuple(left_out))

    def changes(self, name: str) -> bool:
        """Whether any element of the tensor `name` may be another than the fine-tuned model's: of any may."""
        return True

    def __call__(self, name: str, tensor: Tensor) -> Tensor:
        """Return the merged tensor of the type of `tensor`, which gives nothing but its type."""
        base = self._base(name, tensor.dtype)
        if name in self.factors:
            a, b = self.factors[name]
            change = b.float() @ a.float()
            if EMBEDDING in name:  # here peft rounds the change before it is added
                return base + change.to(tensor.dtype)
            return (base.float() + change).to(tensor.dtype)
        return self.whole.get(name, base)

    def save(self, folder: Path, base_name: str, card: str) -> None:
        """Write the adapter as peft does into `folder`, which is made here, with the fine-tuned model's tokenizer."""
        folder.mkdir(parents=True)
        tensors = dict(self._tensors())
        specs = [TensorSpec(name, tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()]
        modules = {name.removesuffix(".weight").rsplit(".", 1)[-1] for name in self.factors}
        norms = {name.removesuffix(".weight").rsplit(".", 1)[-1] for name in self.whole}
        config = {
            "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base_name, "r": self.rank,
            "lora_alpha": self.rank, "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": False,
            "use_rslora": False, "use_dora": False, "inference_mode": True, "init_lora_weights": True,
            "target_modules": sorted(modules), "modules_to_save": sorted(norms) or None,
        }  # fmt: skip
        write_file(folder / WEIGHTS, specs, tensors.values(), {"format": "pt"})
        write_json(folder / CONFIG, config)
        copy_matching(self._pair.finetuned.folder, TOKENIZER, folder)
        (folder / "README.md").write_text(card, encoding="utf-8")
        make_readable(folder)

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        for name, (a, b) in self.factors.items():
            module = f"{PREFIX}{name.removesuffix('.weight')}"
            if EMBEDDING in name:  # peft's change of an embedding is (B A)^T
                yield f"{module}.lora_embedding_A", b.T.contiguous()
                yield f"{module}.lora_embedding_B", a.T.contiguous()
                continue
            yield f"{module}.lora_A.weight", a
            yield f"{module}.lora_B.weight", b
        for name, tensor in self.whole.items():
            yield f"{PREFIX}{name}", tensor

    def _base(self, name: str, dtype: torch.dtype) -> Tensor:
        return self._pair.base.get(name).to(dtype)


def check(base: TensorFolder, finetuned: TensorFolder) -> None:
    """Raise ModelError unless both models have the same tensors, of which an adapter changes values alone."""
    shapes = [{name: tuple(folder.shape(name)) for name in folder.names} for folder in (base, finetuned)]
    if shapes[0] != shapes[1]:
        name = next(name for name in sorted(shapes[0].keys() | shapes[1].keys())
                    if shapes[0].get(name) != shapes[1].get(name))  # fmt: skip
        raise ModelError(
            f"{finetuned.folder}: tensor {name!r} has another shape than in {base.folder}, or one of them lacks it, "
            "so that no adapter can hold the difference; write the repaired model with --as model or --as delta"
        )


def _is_projection(name: str) -> bool:
    """Whether a matrix is the weight of a linear module of its own, to which peft can add a low-rank change."""
    return regions.transformer(name) and name.endswith(".weight") and not re.search(r"\.(experts|gate|router)\.", name)


def _is_embedding(name: str) -> bool:
    """Whether a matrix is the input or output embedding."""
    return EMBEDDING in name or name == "lm_head.weight"


def _factors(difference: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return A [rank, in] and B [out, rank], fp32, of a difference [out, in]; zeros where it has fewer dimensions."""
    side = min(difference.shape)
    if side <= max(EXACT, rank + OVERSAMPLING):
        u, s, vt = torch.linalg.svd(difference, full_matrices=False)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            u, s, v = torch.svd_lowrank(difference, q=rank + OVERSAMPLING, niter=ITERATIONS)
        vt = v.T
    kept = min(rank, len(s))
    root = s[:kept].sqrt()
    a, b = torch.zeros(rank, difference.shape[1]), torch.zeros(difference.shape[0], rank)
    a[:kept], b[:, :kept] = root[:, None] * vt[:kept], u[:, :kept] * root
    return a, b
