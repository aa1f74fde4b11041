"""Probing and greedy answers on a GPU, LLaMA-3-8B geometry, bf16, random weights: tokens a second.

  python benchmarks/gpu_generation.py               # needs a GPU with 40 GB or more; says so where there is none
  python benchmarks/gpu_generation.py --tiny        # a small geometry on the CPU, to see that it runs

Prints tokens a second against `generate` on prompts sorted by length, and against the limit of the memory's bandwidth:
every step reads all weights and the cache, at the speed at which this device copies its own memory. Random weights are
the worst case of probing: nearly every sample is different and none ends, so that nothing is shared but the prompt.
"""

import argparse
import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import _common
import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from sftlens import inference

LLAMA_3_8B = {
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
}
TINY = {
    "vocab_size": 500,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
BOS = 1
NO_END = -1
"""In the place of EOS: no token ends an output."""
SAMPLES, TEMPERATURE = 10, 0.7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="small geometry, on the CPU")
    parser.add_argument("--prompts", type=int, help="prompts of probing, ten times as many of greedy (default 256)")
    parser.add_argument("--new-tokens", type=int, default=32, help="length of the outputs")
    parser.add_argument("--batch-tokens", type=int, default=32768, help="tokens held side by side")
    args = parser.parse_args()
    if not args.tiny and not torch.cuda.is_available():
        print("no GPU here: nothing measured (--tiny runs a small geometry on the CPU)")
        return
    device = torch.device("cpu" if args.tiny else "cuda")
    model = random_model(TINY if args.tiny else LLAMA_3_8B, device)
    speed = copy_speed(device)
    weights = sum(p.numel() * p.element_size() for p in model.parameters()) - embedding_bytes(model)
    print(
        f"{torch.cuda.get_device_name() if device.type == 'cuda' else _common.machine()}: "
        f"{weights / 1e9:.3g} GB read a step, copies {speed / 1e9:.0f} GB a second (read and write)"
    )
    count = args.prompts or (8 if args.tiny else 256)
    for name, samples, prompts in (("probing", SAMPLES, count), ("greedy", 1, 10 * count)):
        compare(name, model, random_prompts(model, prompts), samples, args, speed, weights)


def random_model(geometry: dict[str, Any], device: torch.device) -> PreTrainedModel:
    """Return a LLaMA of random bf16 weights, made where it is used."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with device:
            model = LlamaForCausalLM(LlamaConfig(**geometry, max_position_embeddings=512))
    finally:
        torch.set_default_dtype(torch.float32)
    return model.eval()


def embedding_bytes(model: PreTrainedModel) -> int:
    """Return the bytes of the input embedding, of which a step reads but a few rows."""
    weight = model.get_input_embeddings().weight
    return weight.numel() * weight.element_size()


def copy_speed(device: torch.device) -> float:
    """Return the bytes a second that the device reads and writes while it copies its own memory."""
    source = torch.empty((1 if device.type == "cpu" else 64) * 2**24, dtype=torch.float32, device=device)
    target = torch.empty_like(source)
    best = min(seconds(lambda: target.copy_(source)) for _ in range(8))
    return 2 * source.numel() * source.element_size() / best


def seconds(call: Callable[[], object]) -> float:
    """Return the wall time of a call, the device's work included."""
    _wait()
    start = time.perf_counter()
    call()
    _wait()
    return time.perf_counter() - start


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def random_prompts(model: PreTrainedModel, count: int, seed: int = 0) -> list[list[int]]:
    """Return prompts of 10 to 24 tokens, as completion templates have with a LLaMA's tokenizer; the first is BOS."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(9, 24, count)
    return [[BOS, *draw.integers(3, model.config.vocab_size, length).tolist()] for length in lengths]


def compare(
    name: str,
    model: PreTrainedModel,
    prompts: list[list[int]],
    samples: int,
    args: argparse.Namespace,
    speed: float,
    weights: int,
) -> None:
    """Measure one task with both, each twice in turns; print the ratios, then the tokens a second."""
    methods = {
        "ours": lambda part: ours(model, part, samples, args),
        "generate": lambda part: by_generate(model, part, samples, args),
    }
    tokens = len(prompts) * samples * args.new_tokens
    took: dict[str, list[float]] = {key: [] for key in methods}
    limits: dict[str, float] = {}
    for method in methods.values():
        method(prompts[:2])
    for order in (list(methods), list(methods)[::-1]):
        for key in order:
            with reading(model, weights) as read:
                took[key].append(seconds(functools.partial(methods[key], prompts)))
            limits[key] = read[0] / speed
    best = {key: min(values) for key, values in took.items()}
    print(f"{name}: generate takes {best['generate'] / best['ours']:.2f} times as long as ours")
    for key, value in best.items():
        print(
            f"  {key}: {tokens / value:,.0f} tokens a second, {limits[key] / value:.0%} of the limit by bandwidth "
            f"({tokens / limits[key]:,.0f} for the steps it takes)"
        )


def ours(model: PreTrainedModel, prompts: list[list[int]], samples: int, args: argparse.Namespace) -> None:
    """Sample or decode with sftlens; nothing is ever found, no token ends an output."""
    limits: dict[str, int] = {"max_new_tokens": args.new_tokens, "eos": NO_END, "batch_tokens": args.batch_tokens}
    if samples == 1:
        inference.greedy(model, prompts, **limits)
        return
    streams = [i.to_bytes(16, "little") for i in range(len(prompts))]

    def found(places: list[int], tokens: list[list[int]]) -> list[bool]:
        return [False] * len(places)

    for _ in inference.sample(model, prompts, streams, found, samples=samples, temperature=TEMPERATURE, **limits):
        pass


def by_generate(model: PreTrainedModel, prompts: list[list[int]], samples: int, args: argparse.Namespace) -> None:
    """Sample or decode with `generate`, with as many rows side by side as ours has room for."""
    rows = max(1, args.batch_tokens // (24 + args.new_tokens) // samples)
    how: dict[str, Any] = {"do_sample": False}
    if samples > 1:
        how = {"do_sample": True, "temperature": TEMPERATURE, "top_k": 0, "top_p": 1.0}
    limits: dict[str, int] = {"max_new_tokens": args.new_tokens, "samples": samples}
    _common.generate(model, prompts, rows=rows, pad=0, eos=NO_END, **limits, **how)


@contextmanager
def reading(model: PreTrainedModel, weights: int) -> Iterator[list[float]]:
    """Add up the bytes that the model's calls must read: the weights, and the cache of every row."""
    config = model.config
    total = [0.0]
    position = 2 * config.num_key_value_heads * config.head_dim * config.num_hidden_layers * model.dtype.itemsize

    def see(_: Any, __: Any, given: dict[str, Any]) -> None:
        cache = given.get("past_key_values")
        rows, new = given["hidden_states"].shape[:2] if "hidden_states" in given else (0, 0)
        seen = cache.get_seq_length() if cache is not None else 0
        total[0] += weights + rows * (seen + new) * position

    handle = model.model.layers[0].self_attn.register_forward_pre_hook(see, with_kwargs=True)
    try:
        yield total
    finally:
        handle.remove()


if __name__ == "__main__":
    _common.run(main)
