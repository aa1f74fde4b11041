"""On which device a model is: one of torch's, or several GPUs that share its layers."""

from typing import TYPE_CHECKING

import torch

from sftlens.errors import LaunchError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def place(model: "PreTrainedModel", device: str | None) -> "PreTrainedModel":
    """Return a model on a torch device; `auto` fills one GPU after another with whole layers.

    None: `auto` where there are several GPUs, else the GPU, else the CPU. Raises LaunchError for a device that is not
    there.
    """
    device = device or _default()
    if device != "auto":
        _refuse_absent(device)
        return model.to(torch.device(device))  # type: ignore[arg-type]
    from accelerate import dispatch_model, infer_auto_device_map

    places = infer_auto_device_map(model, no_split_module_classes=list(model._no_split_modules or []))
    spread: PreTrainedModel = dispatch_model(model, places)
    return spread


def _default() -> str:
    if not torch.cuda.is_available():
        return "cpu"
    return "auto" if torch.cuda.device_count() > 1 else "cuda"


def _refuse_absent(device: str) -> None:
    try:
        there = torch.device(device).type != "cuda" or torch.cuda.is_available()
    except RuntimeError:
        there = False
    if not there:
        raise LaunchError(f"option --device: {device!r} is no device that torch sees here; give cpu, cuda or auto")
