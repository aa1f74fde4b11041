"""Names of parameters: what training frameworks put around them, and what is left without the model's own wrapper."""

import re
from collections.abc import Sequence

_WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""torch.compile, FSDP and activation checkpointing leave these parts in a name, also in its middle."""
_LEADING = frozenset({"base_model", "model", "language_model", "text_model", "transformer", "gpt_neox", "decoder"})
"""Parts with which names of a decoder begin, by architecture, by wrapper and by version of transformers."""

_BUFFERS = re.compile(r"(?:^|\.)(?:rotary_emb\.inv_freq|position_ids|att(?:n|ention)\.masked_bias)$")
_MASKS = re.compile(r"(?:^|\.)att(?:n|ention)\.bias$")
MASK_DIMENSIONS = 4
"""Of a causal mask that is stored like a parameter; a bias has one."""


def is_buffer(name: str, dimensions: int) -> bool:
    """Whether a tensor is one that old checkpoints store although every model computes it itself."""
    return bool(_BUFFERS.search(name) or (dimensions == MASK_DIMENSIONS and _MASKS.search(name)))


def unwrapped(name: str) -> str:
    """Return the name of a parameter without what torch.compile, FSDP, DDP and DeepSpeed put around it."""
    name = _WRAPPERS.sub("", name)
    while name.startswith("module."):
        name = name.removeprefix("module.")
    return name


def bare(name: str) -> str:
    """Return what the same parameter is called in every wrapper: `layers.0.mlp.up_proj.weight`, `lm_head.weight`."""
    parts = unwrapped(name).split(".")
    while len(parts) > 1 and parts[0] in _LEADING:
        parts.pop(0)
    return ".".join(parts)


def same_by_bare_name(names: Sequence[str], others: Sequence[str]) -> dict[str, str]:
    """Return, for each of `others`, the one of `names` that is the same parameter; exact names first.

    A parameter whose bare name stands for several of `names` is left out, as one that is not there.
    """
    known, by_bare = set(names), dict[str, list[str]]()
    for name in names:
        by_bare.setdefault(bare(name), []).append(name)
    found = {}
    for other in others:
        candidates = [other] if other in known else by_bare.get(bare(other), [])
        if len(candidates) == 1:
            found[other] = candidates[0]
    return found


def prefixed(names: Sequence[str], others: Sequence[str]) -> str | None:
    """Return what stands before one of `others` in one of `names` (with its dot), None where nothing does."""
    known = set(others)
    for name in names:
        parts = name.split(".")
        for start in range(1, len(parts)):
            if ".".join(parts[start:]) in known:
                return ".".join(parts[:start]) + "."
    return None
