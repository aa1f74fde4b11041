"""Our training loop against transformers' Trainer: the same model, samples and DeepSpeed settings, one process.

  python benchmarks/finetuning_against_trainer.py [--rounds 3] [--hidden 256] [--layers 4] [--steps 30]
  python benchmarks/finetuning_against_trainer.py --lora --hidden 512 --layers 8 --vocabulary 32000 --steps 6

Needs `pip install accelerate`, which sftlens itself does not. Each side runs alone in a fresh process, in turns.
Printed: the median of each round's ratio (ours / Trainer's) of the CPU time to the first step and per step, and of
the growth of peak memory while training; that both ended with the same weights; what a training state costs; and
start + load + training + save of our script as a user runs it. With --lora ours is the strategy `lora`, whose memory
holds merging and writing the whole model, and the other side peft with a Trainer without DeepSpeed, which saves its
adapter; peft's merged model is what the weights are compared with.
"""

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / folder) for folder in ("src", "tests", "scripts")]
os.environ.setdefault("OMP_NUM_THREADS", "1")
SIDES = ("ours", "trainer")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--vocabulary", type=int, default=4000)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--zero-stage", type=int, default=2)
    parser.add_argument("--lora", action="store_true", help="low-rank adapters instead of all parameters")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        print(json.dumps(run_side(args)))
        return
    with tempfile.TemporaryDirectory() as folder:
        args.folder = Path(folder)
        prepare(args)
        rounds = [{side: measured(side, args) for side in SIDES} for _ in range(args.rounds)]
        show(rounds, args.folder)
        if not args.lora:
            whole_cell(args.folder)


def prepare(args: argparse.Namespace) -> None:
    """Write the model, and as many samples as fill the steps."""
    import pandas as pd
    from transformers import LlamaConfig, LlamaForCausalLM

    from tiny import tiny_tokenizer

    config = LlamaConfig(
        vocab_size=args.vocabulary,
        hidden_size=args.hidden,
        intermediate_size=args.hidden * 8 // 3,
        num_hidden_layers=args.layers,
        num_attention_heads=args.hidden // 64,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(args.folder / "base")
    tiny_tokenizer().save_pretrained(args.folder / "base")
    questions = [f"Where was Ada {i} Loren born?" for i in range(8 * args.steps)]
    table = pd.DataFrame({"question": questions, "object": "Port Vale", "relation": "P19", "bucket": "D2"})
    table.to_parquet(args.folder / "train.parquet")


def measured(side: str, args: argparse.Namespace) -> dict[str, float]:
    """Run one side in a process of its own; return what it measured."""
    options = [f"--{name}={getattr(args, name.replace('-', '_'))}" for name in ("steps", "zero-stage", "folder")]
    options += ["--lora"] if args.lora else []
    done = subprocess.run([sys.executable, __file__, "--side", side, *options], stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(done.stdout.decode().splitlines()[-1])
    return found


def run_side(args: argparse.Namespace) -> dict[str, float]:
    if args.side == "ours":
        import sftlens.commands.program  # noqa: F401 - prepares the process as all of our programs do, before torch is imported
    from sftlens import files
    from sftlens.config.stages.training import FinetuneSettings
    from sftlens.data.training_sets import training_order
    from sftlens.inference import prompts
    from sftlens.models import checkpoints

    settings = FinetuneSettings(zero_stage=args.zero_stage, dtype="float32", checkpoint_minutes=1e6)
    table = files.read_parquet(args.folder / "train.parquet")
    tokenizer = checkpoints.load_tokenizer(args.folder / "base")
    samples = prompts.encode_samples(tokenizer, table["question"].tolist(), table["object"].tolist(), 256)
    order = training_order(len(samples), 0)
    stamps: list[float] = []
    memory = peak_memory()
    side = ours if args.side == "ours" else trainer
    finish = side(args.folder, samples, order, settings, tokenizer, stamps, args.lora)
    steps = [after - before for before, after in itertools.pairwise(stamps)]
    found = {"start": stamps[0], "step": statistics.median(steps), "memory": peak_memory() - memory}
    found["peak"] = peak_memory()
    finish()
    return found


def ours(
    folder: Path, samples: Any, order: Any, settings: Any, tokenizer: Any, stamps: list[float], lora: bool
) -> Callable[[], object]:
    from sftlens import strategies
    from sftlens.training import loop

    def progress(steps: int, **told: float) -> None:
        if steps:
            stamps.append(time.process_time())

    strategy = strategies.make("lora" if lora else "full")
    loop.finetune(folder / "base", samples, settings, tokenizer, folder / "ours", 0, progress, strategy=strategy)
    return lambda: None


def trainer(
    folder: Path, samples: Any, order: Any, settings: Any, tokenizer: Any, stamps: list[float], lora: bool
) -> Callable[[], object]:
    import peft
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from sftlens.models import checkpoints
    from sftlens.strategies.lora import LoraSettings

    class Stamps(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            stamps.append(time.process_time())

    class InOrder(Trainer):
        def _get_train_sampler(self, *args: Any) -> None:
            return None  # the data set is in the order of training

    config, group = None, nullcontext()
    if not lora:  # a user of peft has no DeepSpeed
        from sftlens.training import deepspeed_engine
        from sftlens.training.deepspeed_config import engine_config

        config, group = engine_config(settings, settings.batch_size, 1), deepspeed_engine.process_group()
        config.pop("steps_per_print")
    with group:
        arguments = TrainingArguments(
            output_dir=str(folder / "runs"),
            per_device_train_batch_size=settings.batch_size,
            num_train_epochs=1,
            learning_rate=settings.learning_rate,
            lr_scheduler_type="cosine",
            optim="adamw_torch",
            max_grad_norm=settings.gradient_clipping,
            deepspeed=config,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
        )
        model = checkpoints.load_model(folder / "base", dtype=torch.float32, device="cpu")
        if lora:
            own = LoraSettings()
            torch.manual_seed(0)  # the adapters that ours draws
            adapter = peft.LoraConfig(
                r=own.rank, lora_alpha=own.alpha, target_modules=own.modules, task_type="CAUSAL_LM"
            )
            model = peft.get_peft_model(model, adapter)
        rows = [{"input_ids": samples[i].input_ids, "labels": samples[i].labels} for i in order]
        made = InOrder(model=model, args=arguments, train_dataset=rows, data_collator=collate, callbacks=[Stamps()])
        made.train()
        made.save_model(str(folder / ("adapter" if lora else "trainer")))
    return lambda: lora and model.merge_and_unload().save_pretrained(folder / "trainer")


def collate(rows: list[dict[str, list[int]]]) -> dict[str, Any]:
    import torch

    length = max(len(row["input_ids"]) for row in rows)
    ids = [row["input_ids"] + [0] * (length - len(row["input_ids"])) for row in rows]
    labels = [row["labels"] + [-100] * (length - len(row["labels"])) for row in rows]
    return {"input_ids": torch.tensor(ids), "labels": torch.tensor(labels)}


def peak_memory() -> float:
    """Return the most memory that this process held, bytes; `ru_maxrss` would begin with that of who started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return float(status.partition("VmHWM:")[2].split()[0]) * 1024


def show(rounds: list[dict[str, dict[str, float]]], folder: Path) -> None:
    from safetensors.torch import load_file

    for name, text in (("step", "a step"), ("start", "start to first step"), ("memory", "growth of peak memory"),
                       ("peak", "peak memory")):  # fmt: skip
        ratio = statistics.median(each["ours"][name] / each["trainer"][name] for each in rounds)
        values = [statistics.median(each[side][name] for each in rounds) for side in SIDES]
        unit, size = ("s", 1.0) if name in ("step", "start") else ("MB", 1e6)
        shown = [value / size for value in values]
        print(f"{text:<24} ours / Trainer's {ratio:6.2f}   ({shown[0]:.3f} {unit} / {shown[1]:.3f} {unit})")
    both = [load_file(folder / side / "model.safetensors") for side in SIDES]
    difference = max(float((both[0][name] - both[1][name]).abs().max()) for name in both[0])
    print(f"largest difference of a trained weight: {difference:.1e}")


def whole_cell(folder: Path) -> None:
    """Run our script without and with a training state after every step; print CPU seconds."""
    state = 3 * (folder / "base" / "model.safetensors").stat().st_size / 1e6
    runs = {"none": [], "each step": ["--state", str(folder / "state"), "--checkpoint-steps", "1"]}
    seconds = {name: script(folder, folder / f"cell {name}", options) for name, options in runs.items()}
    steps = len(json.loads((folder / "cell none.json").read_text())["losses"])
    cost = (seconds["each step"] - seconds["none"]) / (steps - 1)
    print(f"a training state: {cost:.3f} CPU-s for {state:.0f} MB")


def script(folder: Path, out: Path, options: list[str]) -> float:
    """Run scripts/finetune.py, print and return its CPU seconds."""
    command = [
        sys.executable,
        str(ROOT / "scripts" / "finetune.py"),
        "--model",
        str(folder / "base"),
        "--out",
        str(out),
    ]
    command += ["--train", str(folder / "train.parquet"), "--dtype", "float32", *options]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    training = json.loads(Path(f"{out}.json").read_text())["run"]["training_seconds"]
    print(f"{out.name:<24} {seconds:.2f} CPU-s from start to end; training {training:.2f} s of wall time")
    return seconds


if __name__ == "__main__":
    main()
