"""The numbers that criteria rank by: int32 keys from fp32 values, sizes of change, and hashes."""

import hashlib

import torch
from torch import Tensor

ALL_BITS = 0x7FFFFFFF
"""Every bit but the sign: the keys exclusive-or this are in reverse order."""


SUMS = ("sum_r", "sum_abs_d", "sum_d2")
"""Sums over elements: of the relative change r (fp32, summed in fp64), of |s - p| and of (s - p)^2 (both fp64)."""


def descending(values: Tensor) -> Tensor:
    """Return keys that put fp32 `values` of large magnitude first, computed in place: bit patterns sort like values."""
    # abs only clears the sign bit: -0.0, whose pattern is negative, must rank as 0.0.
    return values.abs_().view(torch.int32)


def ascending(values: Tensor) -> Tensor:
    """Return keys that put fp32 `values` of small magnitude first, computed in place."""
    return descending(values).bitwise_xor_(ALL_BITS)


def relative_change(base: Tensor, finetuned: Tensor, epsilon: float) -> Tensor:
    """Return |s - p| / (|p| + epsilon), fp32, computed in fp32 from stored values of any float dtype."""
    return signed_change_(base.to(torch.float32, copy=True), finetuned.to(torch.float32, copy=True), epsilon).abs_()


def change_sizes(base: Tensor, values: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return r, |s - p| and (s - p)^2 of `values` s against `base` p, float64, in the order of SUMS."""
    d = values.double() - base.double()
    return relative_change(base, values, epsilon).double(), d.abs(), d.square()


def signed_change_(p: Tensor, s: Tensor, epsilon: float) -> Tensor:
    """Return (s - p) / (|p| + epsilon) of fp32 `p` and `s`; computed in the memory of `s`; `p` is overwritten."""
    return s.sub_(p).div_(p.abs_().add_(epsilon))


# SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014) used as a counter:
# the hash of an element needs its name and index alone, so any piece of any tensor has the same hashes on any device.
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
    """Return SplitMix64's output for each int64 `state`, bits spread over all 64, computed in place."""
    buffer = torch.empty_like(state)
    state.bitwise_xor_(shifted(state, 30, buffer)).mul_(FIRST)
    state.bitwise_xor_(shifted(state, 27, buffer)).mul_(SECOND)
    return state.bitwise_xor_(shifted(state, 31, buffer))


def stream(seed: int, name: str) -> int:
    """Return the start of the tensor's own sequence, an int64."""
    digest = hashlib.sha256(f"{seed}\0{name}".encode()).digest()
    return signed(int.from_bytes(digest[:8], "little"))


def hashed(seed: int, name: str, start: int, number: int, device: torch.device) -> Tensor:
    """Return the hashes of elements start, start + 1, ... of the tensor `name`, int32 in [0, 2^KEY_BITS)."""
    index = torch.arange(start + 1, start + 1 + number, dtype=torch.int64, device=device)
    state = mixed_(index.mul_(INCREMENT).add_(stream(seed, name)))
    return shifted(state, 64 - KEY_BITS, state).to(torch.int32)
