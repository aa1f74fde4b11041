"""Probing and answers at the geometry of LLaMA-3-8B, bf16, random weights, against `generate` and against the chip.

Random weights are the worst case of probing: every sample is another one and none ends, so that nothing but the
prompt is shared.
"""

from collections import Counter
from typing import Any

import numpy as np
import torch
from bench import Bench, facts, generate, tokenizer
from transformers import PreTrainedModel

from sftlens import inference
from sftlens.config.stages.mastery import ProbingSettings
from sftlens.inference import forward, slots
from sftlens.inference.forward import batches
from sftlens.inference.prompts import token_ids
from sftlens.mastery import completions

NEW_TOKENS = 32
NO_END = -1
COPY, MATRIX = "copy, bytes read and written", "bf16 matrix product"


def ceilings(bench: Bench) -> None:
    """Measure what the chip can do: the rest is a share of it."""
    elements = 2**22 if bench.tiny else 2**31
    source = torch.empty(elements, dtype=torch.bfloat16, device=bench.device).uniform_()
    target = torch.empty_like(source)
    seconds = bench.best(lambda: target.copy_(source))
    bench.row(COPY, 4 * elements / seconds, "B/s")
    host = torch.empty(elements // 8, dtype=torch.bfloat16, pin_memory=bench.device.type == "cuda").fill_(1)
    seconds = bench.best(lambda: source[: len(host)].copy_(host, non_blocking=True), 3)
    bench.row("copy from pinned main memory", 2 * len(host) / seconds, "B/s")
    size = 256 if bench.tiny else 8192
    left, right = torch.randn(2, size, size, dtype=torch.bfloat16, device=bench.device)
    seconds = bench.best(lambda: torch.mm(left, right), 10)
    bench.row(MATRIX, 2 * size**3 / seconds, "FLOP/s")


def prompts_of(bench: Bench, count: int, length: int | None = None) -> list[list[int]]:
    """Return prompts of 10 to 24 tokens, or of `length`; the first token is BOS."""
    draw = np.random.default_rng(0)
    size = bench.geometry["vocab_size"]
    return [[1, *draw.integers(3, size, length or draw.integers(9, 24)).tolist()] for _ in range(count)]


def weights_read(model: PreTrainedModel) -> int:
    """Return the bytes of the weights that a step reads; of the input embedding it reads but a few rows."""
    embedding = model.get_input_embeddings().weight
    return sum(p.numel() * p.element_size() for p in model.parameters()) - embedding.numel() * embedding.element_size()


def cache_bytes(model: PreTrainedModel) -> int:
    """Return the bytes of one token's keys and values."""
    config = model.config
    return 2 * config.num_key_value_heads * config.head_dim * config.num_hidden_layers * model.dtype.itemsize


@torch.inference_mode()
def decode(bench: Bench) -> None:
    """Measure single decode steps, with and without slots, against the bytes a step must read."""
    model, steps = bench.large(), 4 if bench.tiny else 16
    for rows in (4, 8) if bench.tiny else (8, 64, 256, 1024):
        prompts = prompts_of(bench, rows)
        [batch] = batches(prompts, 10**9, NEW_TOKENS, mixed=True)
        length = batch.longest + NEW_TOKENS // 2
        limit = (weights_read(model) + rows * length * cache_bytes(model)) / bench.ceiling(COPY)
        for name in ("slots", "no slots"):
            room = None if name == "no slots" else slots.Slots(model, rows, batch.longest + NEW_TOKENS)
            now: Any = forward.prefill(model, batch)[1]
            parents = np.arange(rows)
            tokens = torch.full((rows,), 5, device=bench.device)

            def step() -> None:
                nonlocal now
                now = slots.read_on(model, now, parents, tokens, room)[1]  # noqa: B023

            for _ in range(3):
                step()
            seconds = bench.seconds(lambda: [step() for _ in range(steps)]) / steps
            flops = 2 * rows * (weights_read(model) / model.dtype.itemsize) / seconds
            bench.row(
                f"decode step, {rows} rows, {name}",
                1e3 * seconds,
                "ms",
                share_of_bandwidth_limit=limit / seconds,
                share_of_matrix_peak=flops / bench.ceiling(MATRIX),
                graphs=room.graphs if room else 0,
            )
            del now
    bench.row("peak memory", bench.peak() / 1e9, "GB")


@torch.inference_mode()
def profile(bench: Bench) -> None:
    """Say which kernels take the time of a decode step, and how long the GPU waits for their launches."""
    from torch.profiler import ProfilerActivity

    model, rows, steps = bench.large(), 4 if bench.tiny else 256, 4
    [batch] = batches(prompts_of(bench, rows), 10**9, NEW_TOKENS, mixed=True)
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if bench.device.type == "cuda" else [])]
    for name, room in (("slots", slots.Slots(model, rows, batch.longest + NEW_TOKENS)), ("no slots", None)):
        now: Any = forward.prefill(model, batch)[1]
        tokens = torch.full((rows,), 5, device=bench.device)
        for number in range(3 + steps):
            if number == 3:
                bench.wait()
                profiler = torch.profiler.profile(activities=kinds)
                profiler.__enter__()
            now = slots.read_on(model, now, np.arange(rows), tokens, room)[1]
        bench.wait()
        profiler.__exit__(None, None, None)
        spans: list[tuple[float, float, str]] = sorted(
            (event.time_range.start, event.time_range.end, event.name)
            for event in profiler.events()
            if event.device_type == torch.autograd.DeviceType.CUDA or bench.device.type == "cpu"
        )
        if not spans:
            bench.row(f"{name}: no kernel was seen", 0)
            continue
        busy = sum(end - start for start, end, _ in spans)
        whole = max(end for _, end, _ in spans) - spans[0][0]
        bench.row(f"GPU busy, {rows} rows, {name}", busy / whole, "of the time", kernels_a_step=len(spans) // steps)
        times: Counter[str] = Counter()
        for start, end, kernel in spans:
            times[kernel[:90]] += end - start
        for kernel, spent in times.most_common(8):
            bench.row(f"{name}: {kernel}", spent / busy, "of the busy time", us_a_step=spent / steps)


def probing(bench: Bench) -> None:
    """Measure samples a second at 21 templates x 10, ours with everything that mastery does, against `generate`."""
    model, vocabulary = bench.large(), bench.geometry["vocab_size"]
    words = tokenizer(vocabulary)
    table, sentences = facts(2 if bench.tiny else 32, vocabulary)
    new = 4 if bench.tiny else NEW_TOKENS
    ids = all_prompts(words, table, sentences)
    samples = 10 * len(ids)
    how = {"do_sample": True, "temperature": 0.7, "top_k": 0, "top_p": 1.0, "num_return_sequences": 10}

    def ours(batch_tokens: int) -> None:
        settings = ProbingSettings(max_new_tokens=new, batch_tokens=batch_tokens)
        probe = completions.Probe(model, words, sentences, settings, of="random")
        hits = sum(sum(d.hits) for d in completions.sample(probe, table))
        assert hits <= samples

    turns = [(512, "first"), (512, "next")] if bench.tiny else [(131072, "first"), (131072, "next")]
    for batch_tokens, turn in turns:
        seconds = bench.seconds(lambda: ours(batch_tokens))  # noqa: B023
        bench.row(
            f"ours, batch_tokens {batch_tokens}, {turn} run",
            samples / seconds,
            "samples/s",
            seconds=seconds,
            peak_GB=bench.peak() / 1e9,
        )
    texts = np.random.default_rng(0).integers(3, vocabulary, (1000, new // 2)).tolist()
    seconds = bench.best(lambda: words.batch_decode(texts, skip_special_tokens=True))
    bench.row(f"turning 1,000 samples of {new // 2} tokens into texts, on the CPU", 1e3 * seconds, "ms")
    part = ids[: len(ids) // 2 // 128 * 128] or ids[:4]
    generate(model, part[:2], 2, max_new_tokens=new, eos_token_id=NO_END, **how)
    for rows in (2,) if bench.tiny else (64, 128):
        if bench.left() < 0:
            return
        seconds = bench.seconds(
            lambda: generate(model, part, rows, max_new_tokens=new, eos_token_id=NO_END, **how)  # noqa: B023
        )
        bench.row(
            f"generate, {rows} prompts x 10",
            10 * len(part) / seconds,
            "samples/s",
            seconds=seconds,
            peak_GB=bench.peak() / 1e9,
        )


@torch.inference_mode()
def compiled(bench: Bench) -> None:
    """Measure a decode step that torch.compile made, as a CUDA graph as well, and what making it takes."""
    model, rows, steps = bench.large(), 4 if bench.tiny else 256, 4 if bench.tiny else 16
    [batch] = batches(prompts_of(bench, rows), 10**9, NEW_TOKENS, mixed=True)
    room = slots.Slots(model, rows, batch.longest + NEW_TOKENS)
    plain, parents = room._forward, np.arange(rows)
    tokens = torch.full((rows,), 5, device=bench.device)
    room._forward = torch.compile(plain, dynamic=False)  # type: ignore[method-assign]
    now: Any = forward.prefill(model, batch)[1]
    made = bench.seconds(lambda: slots.read_on(model, now, parents, tokens, room))
    for _ in range(3):
        slots.read_on(model, room, parents, tokens, room)
    seconds = bench.seconds(lambda: [slots.read_on(model, room, parents, tokens, room) for _ in range(steps)]) / steps
    limit = (weights_read(model) + rows * (batch.longest + 10) * cache_bytes(model)) / bench.ceiling(COPY)
    bench.row(
        f"decode step, {rows} rows, slots, torch.compile",
        1e3 * seconds,
        "ms",
        share_of_bandwidth_limit=limit / seconds,
        seconds_to_compile=made,
        graphs=room.graphs,
    )


def all_prompts(words: Any, table: Any, sentences: dict[str, list[str]]) -> list[list[int]]:
    """Return the token ids of every sentence about every fact."""
    filled = [s.replace("{subject}", subject) for subject in table["subject"] for s in sentences["R"]]
    return token_ids(words, filled)


def answers(bench: Bench) -> None:
    """Measure greedy answers a second, of 16 tokens, against `generate` on prompts sorted by length."""
    model, count, new = bench.large(), 8 if bench.tiny else 2048, 4 if bench.tiny else 16
    prompts = prompts_of(bench, count)
    for batch_tokens in (512,) if bench.tiny else (16384, 32768):
        for turn in ("first", "next"):
            seconds = bench.seconds(
                lambda: inference.greedy(
                    model,
                    prompts,
                    max_new_tokens=new,
                    eos=NO_END,
                    batch_tokens=batch_tokens,  # noqa: B023
                )
            )
            bench.row(f"ours, batch_tokens {batch_tokens}, {turn} run", count / seconds, "answers/s", seconds=seconds)
    for rows in (4,) if bench.tiny else (512,):
        seconds = bench.seconds(
            lambda: generate(model, prompts, rows, max_new_tokens=new, do_sample=False, eos_token_id=NO_END)  # noqa: B023
        )
        bench.row(f"generate, {rows} rows", count / seconds, "answers/s", seconds=seconds)
    bench.row("peak memory", bench.peak() / 1e9, "GB")
