"""The type that a model computes in, which need not be the one that its weights are stored in.

On a CPU without instructions for bf16, a matrix product in bf16 takes 3 to 8 times as long as in fp32, and nearly all
published models are stored in bf16. Every number of bf16 and of fp16 is one of fp32, too: a model that computes in fp32
is the same model, with less rounding between its layers. Weights on disk keep their type, and so does all that compares
them: changes, ranking, restoration.

A small model is converted whole. The weights of a larger one stay in memory as they are stored, and each layer is
converted while it computes (`compute_by_layer`), so that it takes half the memory.
"""

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sftlens.config.stages.model import CONVERTED_WHOLE

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FAST = {
    torch.bfloat16: {"avx512_bf16", "amx_bf16", "bf16", "svebf16"},
    torch.float16: {"avx512_fp16", "amx_fp16", "asimdhp"},
}
"""Flags of the kernel by which a CPU says that it multiplies in these types: x86, then ARM."""
SMALL = 10_000_000
"""Below so many parameters nothing is won by 16 bits on any CPU, and in fp32 no answer depends on its batch."""
HEAD_NUMBERS = 16_000_000
"""Numbers of the output layer that are converted at a time: 64 MB."""


def choose(wanted: str, stored: torch.dtype, parameters: int, *, on_cpu: bool) -> torch.dtype:
    """Return the type that a model of so many parameters computes in, on a CPU or on GPUs.

    `wanted` is the setting `compute_dtype`: `auto`, `stored`, or the name of a type.
    """
    if wanted not in ("auto", "stored"):
        found: torch.dtype = getattr(torch, wanted)
        return found
    if wanted == "stored" or not on_cpu or stored not in FAST:
        return stored
    return stored if parameters >= SMALL and FAST[stored] & cpu_flags() else torch.float32


@cache
def cpu_flags(path: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Return the flags of this machine's CPU; none where the kernel does not tell them."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    line = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return frozenset(line[1].split() if line else ())


def by_layer(stored: torch.dtype, computed: torch.dtype, parameters: int) -> bool:
    """Return whether a model on a CPU is converted layer by layer while it computes."""
    return computed.itemsize > stored.itemsize and parameters > CONVERTED_WHOLE


def type_of(model: "PreTrainedModel") -> torch.dtype:
    """Return the type that a loaded model computes in."""
    return torch.float32 if getattr(model, "computes_by_layer", False) else model.dtype


def compute_by_layer(model: "PreTrainedModel") -> None:
    """Let a model compute in fp32, on a CPU and without gradients, while its weights stay in memory as they are.

    The parameters of a decoder layer are converted before it computes and let go afterwards; the output layer converts
    some rows at a time. It computes what it would when converted whole, up to constants that belong to no weight and
    are made in the type of the weights (Gemma's scale of the embedding).
    """
    head = model.get_output_embeddings()
    if type(head) is torch.nn.Linear:
        model.set_output_embeddings(_Head(head))
        head = model.get_output_embeddings()
    layers = {layer for part in model.modules() if isinstance(part, torch.nn.ModuleList) for layer in part}
    for module in model.modules():
        if module in layers:
            _convert_meanwhile(module, list(module.parameters()))
    inside = {part for layer in layers for part in layer.modules()}
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if module in inside or module is head or not own:
            continue
        if type(module) is torch.nn.Embedding:  # a row that is looked up is not computed with before
            module.register_forward_hook(lambda _module, _given, rows: rows.float())
        else:
            _convert_meanwhile(module, own)
    model.computes_by_layer = True  # type: ignore[assignment]


def _convert_meanwhile(module: torch.nn.Module, parameters: list[torch.nn.Parameter]) -> None:
    held: list[torch.Tensor] = []

    def before(_module: torch.nn.Module, _given: Any) -> None:
        held.extend(parameter.data for parameter in parameters)
        for parameter in parameters:
            parameter.data = parameter.data.float()

    def after(_module: torch.nn.Module, _given: Any, _found: Any) -> None:
        for parameter, data in zip(parameters, held, strict=True):
            parameter.data = data
        held.clear()

    module.register_forward_pre_hook(before)
    module.register_forward_hook(after, always_call=True)  # also where the layer fails


class _Head(torch.nn.Module):
    """A linear layer whose weight is converted some rows at a time; the weight may be that of the embedding."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        rows, width = self.weight.shape
        size = max(1, HEAD_NUMBERS // width)
        found = hidden.new_empty(*hidden.shape[:-1], rows)
        for start in range(0, rows, size):
            part = slice(start, start + size)
            bias = None if self.bias is None else self.bias[part].float()
            found[..., part] = torch.nn.functional.linear(hidden, self.weight[part].float(), bias)
        return found
