"""Fine-tune a model on question-answer pairs, loss on the answers only (paper section 3).

  sftlens finetune --model DIR --train order.parquet --scale 240 --out DIR
  sftlens finetune --model DIR --train order.parquet --zero-stage 3 --processes 8 --out DIR

Writes a Hugging Face folder and, beside it, a summary with the relations' shares and the loss of every step.
With --processes N it starts itself N times on this node, or on the --nodes M of a Slurm job, N/M times on each
of them; --gpus and --cpus are of each node. Any number trains the same batches. The training set is any Parquet,
CSV, TSV or JSON lines file with the columns question and object (or answer); sftlens training-set makes one.
With --keep deltas the folder holds the difference from the base model (see sftlens delta).

With --state DIR a killed run goes on where it last saved its state (--checkpoint-minutes), and ends with the
bytes of a run that was never killed. Shortly before --time-limit-minutes or its Slurm job are over, and at
SIGTERM, it saves its state and ends with exit status 75: run the same command again.
"""

import argparse
import dataclasses
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from sftlens import files, strategies
from sftlens.cli import ENTRY
from sftlens.commands import options, program
from sftlens.config.stages.training import SAME_RESULT, FinetuneSettings
from sftlens.data import tables, used
from sftlens.models.delta import manifest
from sftlens.runtime import launch, provenance, stages
from sftlens.strategies import STRATEGIES, Strategy


def main() -> None:
    args = _arguments()
    settings = options.settings(args, FinetuneSettings)
    if args.worker:
        with launch.worker():
            train(args, settings, args.worker)
        return
    args.deadline = _deadline(args.time_limit_minutes)
    inputs = program.contents(args, "model", train=_rows(args, settings))
    if settings.deepspeed:
        inputs["deepspeed"] = program.content(Path(settings.deepspeed))
    identity = settings.model_dump(exclude={*SAME_RESULT, "deepspeed"})
    identity |= {name: getattr(args, name) for name in ("scale", "seed", "bos", "processes", "strategy")}
    identity |= {"strategy_settings": _strategy(args).settings.model_dump()}

    def compute(folder: Path) -> None:
        if done := stages.finished(other):
            convert(done, folder, args.model, settings.keep)
            return
        # One place, however the model is kept: a run that was killed goes on also where this was changed.
        args.resume = stages.resume_folder(plain)
        layout = launch.Layout(args.processes, args.nodes, args.cpus, args.gpus or 0)
        if layout.processes == 1:
            train(args, settings, folder)
        else:
            arguments = [*sys.argv[1:], "--worker", str(folder), *_handed_on(args)]
            launch.start(ENTRY, ["finetune", *arguments], layout, folder)
        report = files.read_json(folder / "report.json")
        files.write_json(folder / "finetune.json", summary(report, identity, inputs))
        if settings.keep == "deltas":
            from sftlens.models.delta import packing

            packing.pack(args.model, folder / "checkpoint", folder / "checkpoint")

    outputs = {"checkpoint": args.out, "finetune.json": args.summary or Path(f"{args.out}.json")}
    plain, packed = (
        program.described(args, "finetune", outputs=outputs, inputs=inputs, settings={**identity, "deltas": packed})
        for packed in (False, True)
    )
    stage, other = (packed, plain) if settings.keep == "deltas" else (plain, packed)
    program.run_stage(args, stage, compute)
    if settings.keep == "deltas":
        manifest.point(args.out, args.model)
    stages.forget(other)
    if settings.keep == "none":
        stages.forget(stage)


def convert(done: Path, folder: Path, base: Path, keep: str) -> None:
    """Fill `folder` with the finished work of a run whose model was kept in the other way."""
    from sftlens.models.delta import packing

    if keep == "deltas":
        packing.pack(base, done / "checkpoint", folder / "checkpoint")
    else:
        packing.unpack(done / "checkpoint", folder / "checkpoint", base)
    shutil.copyfile(done / "finetune.json", folder / "finetune.json")


def _deadline(minutes: float | None) -> float | None:
    """When the time is over, seconds since the epoch: that of the option or of the Slurm job, whichever is first."""
    known = [left for left in (60 * minutes if minutes else None, launch.seconds_left()) if left is not None]
    return time.time() + min(known) if known else None


def _handed_on(args: argparse.Namespace) -> list[str]:
    """Options by which each process learns where the state is and when the time is over."""
    given = {"--resume": args.resume, "--deadline": args.deadline}
    return [text for flag, value in given.items() if value is not None for text in (flag, str(value))]


def _arguments() -> argparse.Namespace:
    parser = options.parser(__doc__, FinetuneSettings)
    parser.add_argument("--model", type=options.Model, required=True, help="Hugging Face folder, base.json or hub id")
    parser.add_argument("--train", type=Path, required=True, help="ordered training set (sftlens training-set)")
    parser.add_argument("--scale", default="all", help="train on its first N rows, or on all (default: all)")
    options.add_choice(parser, "--strategy", strategies.DEFAULT, {s.name: s.description for s in STRATEGIES})
    listed = "; ".join(f"{s.name}: {', '.join(s.settings_class.model_fields) or 'none'}" for s in STRATEGIES)
    text = f"settings of the strategy ({listed})"
    parser.add_argument("--strategy-settings", nargs="+", default=[], metavar="KEY=VALUE", help=text)
    parser.add_argument("--seed", type=int, default=0, help="seed of the training order")
    parser.add_argument("--processes", type=int, default=1, help="processes on all nodes together, one for each GPU")
    parser.workflow.add_argument("--nodes", type=int, default=1, help="nodes that share them, inside a Slurm job")
    parser.workflow.add_argument("--cpus", type=int, default=1, help="CPUs of each node, for srun")
    options.add_gpus(parser)
    options.add_bos(parser)
    parser.add_argument("--out", type=Path, required=True, help="Hugging Face folder to write")
    parser.workflow.add_argument("--summary", type=Path, help="summary to write (default: OUT.json)")
    parser.add_argument(
        "--time-limit-minutes", type=float, help="save the state and stop shortly before (exit status 75)"
    )
    # For the processes that this program starts.
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--resume", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--deadline", type=float, help=argparse.SUPPRESS)
    return parser.parse_args()


def _rows(args: argparse.Namespace, settings: FinetuneSettings) -> Any:
    strategy = _strategy(args)
    table = tables.facts(args.train, optional=["relation", "bucket"], unique=False)
    return strategy.rows(used.by_training(table, args.scale, settings.allow_smaller))


def _strategy(args: argparse.Namespace) -> Strategy:
    """Return the strategy with the settings that the options gave. Raises ConfigError for an unknown one."""
    chosen = STRATEGIES.get(args.strategy)
    return chosen(options.nested("--strategy-settings", args.strategy_settings, chosen.settings_class))


def train(args: argparse.Namespace, settings: FinetuneSettings, folder: Path) -> None:
    """Train as one of the processes; rank 0 fills `folder` with checkpoint/ and report.json."""
    from sftlens.data import training_sets
    from sftlens.inference import prompts
    from sftlens.models import checkpoints, identity
    from sftlens.runtime import progress
    from sftlens.training import batches, loop

    rows = _rows(args, settings)
    tokenizer = checkpoints.load_tokenizer(args.model, args.bos)
    samples = prompts.encode_samples(
        tokenizer, rows["question"].tolist(), rows["object"].tolist(), settings.max_length, settings.task
    )
    first = os.environ.get("RANK", "0") == "0"
    steps = batches.steps_of(len(samples), settings)
    with progress.bar(description="fine-tune", total=steps if first else 0, unit="step") as bar:
        update = bar.update if first else (lambda steps: None)
        resume = loop.Resume(args.resume, args.deadline) if args.resume else None
        out = folder / "checkpoint"
        how = (args.seed, update, resume, _strategy(args))
        report = loop.finetune(args.model, samples, settings, tokenizer, out, *how)
    if first:
        identity.write_manifest(folder / "checkpoint")
        files.write_json(
            folder / "report.json",
            {
                "train_set": training_sets.name(rows),
                "shares": training_sets.shares(rows),
                **dataclasses.asdict(report),
                "peak_memory_bytes": provenance.peak_memory(),
            },
        )


def summary(report: dict[str, Any], settings: dict[str, Any], inputs: dict[str, str]) -> dict[str, Any]:
    """Return the stage's summary; what differs between two equal runs goes to its block `run`."""
    training = {
        "training_seconds": report.pop("seconds"),
        "peak_memory_bytes": report.pop("peak_memory_bytes"),
    }
    tokens, losses = report["supervised_tokens"], report["losses"]
    metrics = [
        {"metric": "examples", "value": float(report["examples"]), "n": report["examples"]},
        {"metric": "loss_first", "value": losses[0], "n": tokens[0]},
        {"metric": "loss_last", "value": losses[-1], "n": tokens[-1]},
    ]
    made = provenance.summary("finetune", settings=settings, inputs=inputs, metrics=metrics, **report)
    made["run"] |= training
    return made
