"""SFT steps at batch 8: LoRA on the whole geometry, all parameters with offload on a part of its layers."""

import torch
from bench import Bench

from sftlens.config.stages.training import FinetuneSettings
from sftlens.inference.prompts import MASKED, Sample
from sftlens.training import deepspeed_engine
from sftlens.training.deepspeed_config import engine_config
from sftlens.training.deepspeed_engine import Process
from sftlens.training.step import answer_loss, micro_batch_plan, micro_batches, take_step

BATCH, TOKENS, ANSWER = 8, 40, 5


def samples(bench: Bench) -> list[Sample]:
    """Return a batch as closed-book questions make it: 30 to 40 tokens, five of them the answer."""
    ids = torch.randint(3, bench.geometry["vocab_size"], (BATCH, TOKENS)).tolist()
    cut = [row[: TOKENS - i] for i, row in enumerate(ids)]
    return [Sample(row, [MASKED] * (len(row) - ANSWER) + row[-ANSWER:]) for row in cut]


def run(bench: Bench) -> None:
    """Measure LoRA, then full fine-tuning."""
    lora(bench)
    bench.drop()
    full(bench)


def lora(bench: Bench) -> None:
    """Measure steps of LoRA in a plain torch loop with our loss."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        bench.row("LoRA: peft is not there", 0)
        return
    model = bench.large()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    wrapped = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"))
    wrapped.train()
    trained = [p for p in wrapped.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
    process = Process(0, 1, bench.device)
    [(input_ids, labels)] = micro_batches(samples(bench), (BATCH, 1), process)

    def step() -> None:
        loss = answer_loss(wrapped, input_ids, labels) / (BATCH * ANSWER)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    seconds = bench.best(step, 2 if bench.tiny else 8)
    bench.row("LoRA, plain torch loop, batch 8", 1 / seconds, "steps/s", ms=1e3 * seconds, peak_GB=bench.peak() / 1e9)


def full(bench: Bench) -> None:
    """Measure full fine-tuning with the optimiser in main memory, by the library's own step on DeepSpeed."""
    layers = 1 if bench.tiny else 4
    settings = FinetuneSettings(zero_stage=2, offload="optimizer" if bench.device.type == "cuda" else "none")
    try:
        with deepspeed_engine.process_group() as process:
            model = bench.model(layers=layers)
            parameters = sum(p.numel() for p in model.parameters())
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
            config = engine_config(settings, *micro_batch_plan(settings, 1))
            engine = deepspeed_engine.initialize(model, optimizer, config)
            batch = samples(bench)
            seconds = bench.best(lambda: take_step(engine, batch, 1, 10, settings, process), 1 if bench.tiny else 3)
            bench.row(
                f"full, offloaded optimiser, DeepSpeed, {layers} of {bench.geometry['num_hidden_layers']} layers",
                1 / seconds,
                "steps/s",
                ms=1e3 * seconds,
                parameters=parameters,
                peak_GB=bench.peak() / 1e9,
            )
            engine.destroy()
    except ImportError:
        bench.row("full fine-tuning: DeepSpeed is not there", 0)
