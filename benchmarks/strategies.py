"""What a strategy costs: the CPU time of a training step against full fine-tuning; same model, samples and batches.

  python benchmarks/strategies.py [--rounds 5] [--hidden 128] [--layers 4] [--vocabulary 4000] [--steps 12]
  python benchmarks/strategies.py --only kl dft

`full` and the strategy train in turns, in one process. A round's ratio is that of the median steps of the two, and the
median of the rounds is printed, with the least and the largest. What is computed once, before the first step (the
logits of `kl` and `self-distil`, the ranking of `masked`), is printed in steps of `full`.
"""

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from transformers import LlamaConfig, LlamaForCausalLM

from sftlens import strategies
from sftlens.config.stages.training import FinetuneSettings
from sftlens.inference import prompts
from sftlens.training import loop
from tiny import tiny_tokenizer

BARS = {"kl": 1.4, "self-distil": 1.4, "l2-sp": 1.1, "masked": 1.1, "masked-random": 1.1, "dft": 1.1}
"""What a step may cost, as a multiple of that of `full`."""
SAME_STEP = ("drop-unknown", "early-stopping", "replay", "replay-generated")
"""Strategies whose step is that of `full`."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--vocabulary", type=int, default=4000)
    parser.add_argument("--steps", type=int, default=12)
    names = [name for name in strategies.STRATEGIES.names() if name not in (strategies.DEFAULT, *SAME_STEP)]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(args, Path(folder))


def run(args: argparse.Namespace, folder: Path) -> None:
    """Make the model and a pilot, then time each strategy against `full`."""
    config = LlamaConfig(
        vocab_size=args.vocabulary, hidden_size=args.hidden, intermediate_size=args.hidden * 8 // 3,
        num_hidden_layers=args.layers, num_attention_heads=max(1, args.hidden // 64), bos_token_id=1, eos_token_id=2,
        pad_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder / "base")
    questions = [f"Where was Ada {i} Loren born?" for i in range(8 * args.steps)]
    samples = prompts.encode_samples(tiny_tokenizer(), questions, ["Port Vale"] * len(questions), 64)
    seconds(folder, "full", samples, folder / "pilot")
    size = f"{args.layers} layers of {args.hidden}, {args.vocabulary} tokens"
    print(f"{size}; {args.rounds} rounds of {args.steps} steps")
    print("CPU time of a step as a multiple of that of full (lower is better), and what is computed before, in steps")
    for name in args.only:
        ratios, before = [], []
        for _ in range(args.rounds):
            (full, start), (own, own_start) = (seconds(folder, one, samples) for one in ("full", name))
            ratios.append(own / full)
            before.append((own_start - start) / full)
        middle, bar = statistics.median(ratios), BARS.get(name)
        said = "" if bar is None else f"  bar {bar:g}: {'met' if middle <= bar else 'MISSED'}"
        span = f"({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"  {name:<14} {middle:.2f} {span}  before: {statistics.median(before):+.1f}{said}", flush=True)


def seconds(folder: Path, name: str, samples: list[prompts.Sample], out: Path | None = None) -> tuple[float, float]:
    """Train by a strategy; return the median CPU seconds of a step, and those before the first step."""
    strategy = strategies.STRATEGIES.get(name)
    given = {"model": folder / "base"} | ({"pilot": folder / "pilot"} if "pilot" in strategy.inputs else {})
    made = strategies.make(name, None, given)
    settings = FinetuneSettings(dtype="float32", zero_stage=1, learning_rate=1e-3)
    times = [time.process_time()]
    loop.finetune(
        folder / "base", samples, settings, None, out or folder / "out", 0,
        lambda steps, **values: times.append(time.process_time()), strategy=made,
    )  # fmt: skip
    # The first call says how many steps a resumed run has made; the first step warms up.
    steps = [later - earlier for earlier, later in itertools.pairwise(times[2:])]
    return statistics.median(steps), times[1] - times[0]


if __name__ == "__main__":
    main()
