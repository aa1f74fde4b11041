"""A seeded random order, a control: the key of an element is a hash of (seed, tensor name, flat index).

Random elements are also what DARE sets back (Yu et al., ICML 2024, arXiv 2311.03099), which rescales the others; here
nothing is rescaled. The hash is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
OOPSLA 2014) used as a counter, so any piece of any tensor can be ranked alone, on any device, with the same result.
"""

import hashlib

import torch
from torch import Tensor

from sftlens.config.restoration import RestorationSettings
from sftlens.restoration.criteria.base import Criterion

KEY_BITS = 31


def signed(value: int) -> int:
    """Return the int64 with the bits of an unsigned 64-bit `value`: torch multiplies int64 modulo 2^64."""
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value


INCREMENT = signed(0x9E3779B97F4A7C15)
FIRST = signed(0xBF58476D1CE4E5B9)
SECOND = signed(0x94D049BB133111EB)


def shifted(value: Tensor, bits: int, out: Tensor) -> Tensor:
    """Return `value` >> `bits` with zeros moved in, as for an unsigned integer, written to `out`."""
    return torch.bitwise_right_shift(value, bits, out=out).bitwise_and_((1 << (64 - bits)) - 1)


def mixed_(state: Tensor) -> Tensor:
    """Return SplitMix64's output for each int64 `state`, bits spread over all 64, in its place."""
    room = torch.empty_like(state)
    state.bitwise_xor_(shifted(state, 30, room)).mul_(FIRST)
    state.bitwise_xor_(shifted(state, 27, room)).mul_(SECOND)
    return state.bitwise_xor_(shifted(state, 31, room))


def stream(seed: int, name: str) -> int:
    """Return the start of the tensor's own sequence, an int64."""
    digest = hashlib.sha256(f"{seed}\0{name}".encode()).digest()
    return signed(int.from_bytes(digest[:8], "little"))


def hashed(seed: int, name: str, start: int, number: int, device: torch.device) -> Tensor:
    """Return the hashes of elements start, start + 1, ... of the tensor `name`, int32 in [0, 2^KEY_BITS)."""
    index = torch.arange(start + 1, start + 1 + number, dtype=torch.int64, device=device)
    state = mixed_(index.mul_(INCREMENT).add_(stream(seed, name)))
    return shifted(state, 64 - KEY_BITS, state).to(torch.int32)


def make(settings: RestorationSettings) -> Criterion:
    """Return the criterion `random` of `settings.seed`."""

    def keys(name: str, p: Tensor, s: Tensor, start: int = 0) -> Tensor:
        return hashed(settings.seed, name, start, p.numel(), p.device)

    return keys
