"""Bringing the tensors of a checkpoint to their devices one by one: to one device, or to GPUs that share the layers."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import torch

from sftlens.errors import LaunchError, ModelError
from sftlens.models.names import is_buffer
from sftlens.models.safetensors_reader import TYPES, TensorFolder

Transform = Callable[[str, torch.Tensor], torch.Tensor]
STORED_TYPES = {name: TYPES[name] for name in ("F32", "BF16", "F16")}
"""Types of the tensors that are read, in safetensors' words."""


def device_map(device: str | None) -> str | dict[str, str] | None:
    """Return where transformers puts the tensors of a model as it loads them (its `device_map`); None: on the CPU.

    `auto` fills one GPU after another with whole layers. None: `auto` where there are several GPUs, else the GPU, else
    the CPU. Raises LaunchError for a device that is not there.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    device = device or ("auto" if gpus > 1 else "cuda" if gpus else "cpu")
    if device == "auto":
        return "sequential" if gpus else None
    _refuse_absent(device)
    return None if device == "cpu" else {"": device}


def ranking_device(device: str | None) -> str:
    """Return where parameters are ranked: on the CPU, unless one device is named. Raises LaunchError."""
    if device in (None, "auto"):
        return "cpu"
    _refuse_absent(device)
    return device


def _refuse_absent(device: str) -> None:
    try:
        named = torch.device(device)
        there = named.type == "cpu" or (named.type == "cuda" and (named.index or 0) < torch.cuda.device_count())
    except RuntimeError:
        there = False
    if not there:
        raise LaunchError(f"option --device: {device!r} is no device that torch sees here; give cpu, cuda or auto")


class Pending:
    """The tensors of a checkpoint that transformers has yet to load: read, checked and transformed one by one.

    transformers makes the model without memory and then takes `tensor[...]` of each entry of its `state_dict`, as it
    does of safetensors' slices, and moves it to its device before it is through with the next. So the main memory
    holds a model of GPUs never whole.
    """

    def __init__(self, source: TensorFolder, transform: Transform | None, rounded: torch.dtype | None) -> None:
        self._source, self._transform, self._rounded = source, transform, rounded
        self._one = threading.Lock()  # transformers asks in several threads; a transform is not made for that
        self._fault: BaseException | None = None
        for name in parameters(source):
            refuse_type(source, name)

    def get(self, name: str) -> torch.Tensor:
        """Return a tensor; what is wrong with it is kept for `raise_fault`, too."""
        with self._one:
            try:
                if self._fault:
                    raise self._fault
                tensor = checked_tensor(self._source, name)
                tensor = self._transform(name, tensor) if self._transform else tensor
                return tensor.to(self._rounded) if self._rounded else tensor
            except BaseException as error:
                self._fault = self._fault or error
                raise

    def raise_fault(self) -> None:
        """Raise the first error of a tensor, if there was one."""
        if self._fault:
            raise self._fault


@dataclass(frozen=True)
class Slice:
    """One tensor that is not read yet, in the words of safetensors' slices."""

    pending: Pending
    name: str

    def __getitem__(self, _: object) -> torch.Tensor:
        return self.pending.get(self.name)


@dataclass(frozen=True)
class Outline:
    """The shape and type of one tensor, in the words of safetensors' slices: nothing is read."""

    source: TensorFolder
    name: str

    def __getitem__(self, _: object) -> torch.Tensor:
        dtype = STORED_TYPES[self.source.dtype(self.name)]
        return torch.empty(self.source.shape(self.name), dtype=dtype, device="meta")


def parameters(source: TensorFolder) -> list[str]:
    """Return the names of a checkpoint's parameters, in its order, without what every model computes itself."""
    return [name for name in source.names if not is_buffer(name, len(source.shape(name)))]


def refuse_type(source: TensorFolder, name: str) -> None:
    """Raise ModelError for a tensor that is not stored as floating-point numbers of 16 or 32 bits."""
    if source.dtype(name) not in STORED_TYPES:
        raise ModelError(
            f"{source.file(name)}: tensor {name!r} is stored as {source.dtype(name)}; only "
            f"{', '.join(sorted(STORED_TYPES))} are read: point to the model in bfloat16 or float32"
        )


def checked_tensor(source: TensorFolder, name: str) -> torch.Tensor:
    """Return one tensor as stored. Raises ModelError when it is of no usable type or holds NaN or Inf."""
    refuse_type(source, name)
    tensor = source.get(name)
    # A sum is finite unless an element is not (or the sum overflows: then look at each element). It is taken without a
    # copy in float32: transformers loads in many threads, and each would keep the memory of its copies.
    if not bool(tensor.sum().isfinite()) and not bool(tensor.isfinite().all()):
        raise ModelError(
            f"{source.file(name)}: tensor {name!r} holds NaN or Inf; the checkpoint is damaged or "
            "training diverged: fetch it again or train with a lower learning rate"
        )
    return tensor
