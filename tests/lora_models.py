"""LoRA adapters whose parts are random, as training leaves them."""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from sftlens.models.checkpoints import load_model

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def trained(folder: Path, base: Path, **options: Any) -> Path:
    """Save an adapter of `base` all of whose parts are random, as training leaves them."""
    given = {"r": 4, "lora_alpha": 8, "target_modules": ALL, "task_type": "CAUSAL_LM", **options}
    model = get_peft_model(load_model(base, device="cpu"), LoraConfig(**given))
    generator = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            # In place: two tied modules have one adapter.
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
        assert parameter.isfinite().all(), name
    model.save_pretrained(folder)
    return folder
