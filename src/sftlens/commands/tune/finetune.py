"""Fine-tune a model on question-answer pairs, loss on the answers only (paper section 3).

  sftlens finetune --model DIR --train order.parquet --scale 240 --out DIR
  sftlens finetune --model DIR --train order.parquet --zero-stage 3 --processes 8 --out DIR

Writes a Hugging Face folder and, beside it, a summary with the relations' shares and the loss of every step.
With --processes N it starts itself N times on this node, or N/M times on each of the --nodes M of a Slurm job; --gpus
and --cpus are those of each node. Any number trains the same batches. The training set is any Parquet, CSV, TSV or
JSON lines file with the columns question and object (or answer); sftlens training-set makes one.
With --keep deltas the folder holds the difference from the base model (see sftlens delta).

--strategy says how it is trained (docs/strategies.md), full fine-tuning unless named; some read a model that was
fine-tuned before (--pilot) or a table of facts (--known).

--evaluate-at STEP ... asks the facts of a table (--facts) while it trains: what it still knows, step by step, stands in
the summary. With --stop-when-lost POINTS training ends when so much of what the base knew is lost (docs/training.md).

With --state DIR a killed run continues where it last saved its state (--checkpoint-minutes), and ends with the bytes of
a run that was never killed. Shortly before the end of --time-limit-minutes or of its Slurm job, and at SIGTERM, it
saves its state and ends with exit status 75: run the same command again.
"""

import argparse
import dataclasses
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sftlens import files, strategies
from sftlens.cli import ENTRY
from sftlens.commands import options, program
from sftlens.commands.tune import looks
from sftlens.config.stages.evaluation import DuringSettings
from sftlens.config.stages.training import HOUSEKEEPING, FinetuneSettings
from sftlens.data import recipes, tables, training_sets
from sftlens.errors import ConfigError
from sftlens.models.delta import manifest
from sftlens.runtime import events, launch, progress, provenance, stages
from sftlens.strategies import STRATEGIES, Strategy
from sftlens.tasks import TASKS


def main() -> None:
    args = _arguments()
    settings = options.settings(args, FinetuneSettings)
    args.layout = launch.Layout(args.processes, args.nodes, args.cpus, args.gpus or 0)
    if args.worker:
        with launch.worker():
            train(args, settings, args.worker)
        return
    launch.be_alone()
    # The time is over when that of the option or of the Slurm job is, whichever is first; seconds since the epoch.
    limits = [60 * args.time_limit_minutes if args.time_limit_minutes else None, launch.seconds_left()]
    args.deadline = min((time.time() + left for left in limits if left is not None), default=None)
    rows, dev = _rows(args, settings), _dev(args, settings)
    watched = looks.facts(args, rows)
    inputs = program.contents(args, "model", "pilot", train=rows)
    if settings.deepspeed:
        inputs["deepspeed"] = program.content(Path(settings.deepspeed))
    inputs |= program.contents(args, dev=dev, asked=watched)
    # What a recipe may lack leaves no trace in the key: results from before there was such a setting stay valid.
    unset = set() if settings.early_stopping else {"early_stopping"}
    key = settings.model_dump(exclude={*HOUSEKEEPING, "deepspeed", *unset})
    key |= {name: getattr(args, name) for name in ("scale", "seed", "bos", "processes", "strategy")}
    key |= {"strategy_settings": _strategy(args).settings.model_dump()} | _computing(args, settings)
    key |= {"threads": args.layout.threads} if args.layout.threads > 1 else {}  # they may round sums in another way
    if watched is not None:
        key |= {**options.settings(args, DuringSettings).model_dump(), "max_new_tokens": args.max_new_tokens}

    # Finished work of a run that kept its model in the other way is converted.
    outputs = {"checkpoint": args.out, "finetune.json": args.summary or Path(f"{args.out}.json")}
    plain, packed = (
        program.described(args, "finetune", outputs, inputs, {**key, "deltas": deltas}) for deltas in (False, True)
    )
    stage, other = (packed, plain) if settings.keep == "deltas" else (plain, packed)

    def compute(folder: Path) -> None:
        from sftlens.models.delta import packing

        checkpoint = folder / "checkpoint"
        if done := stages.finished(other):
            if settings.keep == "deltas":
                packing.pack(args.model, done / "checkpoint", checkpoint)
            else:
                packing.unpack(done / "checkpoint", checkpoint, args.model)
            shutil.copyfile(done / "finetune.json", folder / "finetune.json")
            return
        # One folder, however the model is kept: a run that was killed continues also where this was changed.
        args.resume = stages.resume_folder(plain)
        if args.processes == 1:
            train(args, settings, folder)
        else:
            given = {"--worker": folder, "--resume": args.resume, "--deadline": args.deadline}
            given |= {"--compute-dtype": args.compute_dtype}
            handed_on = [text for flag, value in given.items() if value is not None for text in (flag, str(value))]
            launch.start(ENTRY, ["finetune", *sys.argv[1:], *handed_on], args.layout, folder)
        report = files.read_json(folder / "report.json")
        files.write_json(folder / "finetune.json", summary(report, key, inputs))
        if settings.keep == "deltas":
            packing.pack(args.model, checkpoint, checkpoint)

    program.run_stage(args, stage, compute)
    if args.events:  # also where a finished result was published, and nothing was trained
        events.Events(args.events).begin(events.of(files.read_json(outputs["finetune.json"])))
    if settings.keep == "deltas":
        manifest.point(args.out, args.model)
    stages.forget(other)
    if settings.keep == "none":
        stages.forget(stage)


def _arguments() -> argparse.Namespace:
    parser = options.parser(__doc__, FinetuneSettings, DuringSettings, without={"during"})
    parser.add_argument("--model", type=options.Model, required=True, help="model folder, .gguf file or hub id")
    parser.add_argument("--train", type=Path, required=True, help="ordered training set (sftlens training-set)")
    parser.add_argument("--scale", default="all", help="train on its first N rows, or on all (default: all)")
    options.add_choice(parser, "--strategy", strategies.DEFAULT, {s.name: s.description for s in STRATEGIES})
    listed = "; ".join(f"{s.name}: {', '.join(s.settings_class.model_fields) or 'none'}" for s in STRATEGIES)
    text = f"settings of the strategy ({listed})"
    parser.add_argument("--strategy-settings", nargs="+", default=[], metavar="KEY=VALUE", help=text)
    for name, text in strategies.INPUTS.items():
        needed = ", ".join(s.name for s in STRATEGIES if name in s.inputs)
        kind = options.Model if name == "pilot" else Path
        parser.add_argument(f"--{name}", type=kind, help=f"{text}; for strategies {needed}")
    text = "facts that early stopping looks at: those of split dev, where the table has splits"
    parser.add_argument("--dev", type=Path, help=text)
    looks.add(parser)
    parser.add_argument("--seed", type=int, default=0, help="seed of the training order")
    parser.add_argument("--processes", type=int, default=1, help="processes on all nodes together, one for each GPU")
    parser.workflow.add_argument("--nodes", type=int, default=1, help="nodes that share them, inside a Slurm job")
    parser.workflow.add_argument(
        "--cpus", type=int, default=1, help="CPUs of each node, which its processes share as threads"
    )
    options.add_gpus(parser)
    options.add_compute_dtype(parser)
    options.add_bos(parser)
    parser.add_argument("--out", type=Path, required=True, help="Hugging Face folder to write")
    parser.workflow.add_argument("--summary", type=Path, help="summary to write (default: OUT.json)")
    text = "write each step to this file as it is made, one JSON object a line (docs/training.md)"
    parser.add_argument("--events", type=Path, metavar="FILE", help=text)
    text = "save the state and stop shortly before (exit status 75)"
    parser.add_argument("--time-limit-minutes", type=float, help=text)
    # For the processes that this program starts.
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--resume", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--deadline", type=float, help=argparse.SUPPRESS)
    return parser.parse_args()


def _computing(args: argparse.Namespace, settings: FinetuneSettings) -> dict[str, str]:
    """Settle what is computed in, the written type or float32; return it as a part of the key where the two differ.

    DeepSpeed then keeps the weights in fp32 only, and they are rounded once, when they are written.
    """
    wanted, args.compute_dtype = args.compute_dtype, settings.dtype
    if settings.dtype != "float32" and wanted not in ("stored", settings.dtype):
        from sftlens.models import checkpoints

        on_cpu = launch.on_cpu(None, args.gpus)
        _, found = checkpoints.chosen_type(args.model, wanted, on_cpu=on_cpu, own=settings.dtype)
        args.compute_dtype = program.name_of(found)
    provenance.NOTED[provenance.COMPUTED] = args.compute_dtype
    return {} if args.compute_dtype == settings.dtype else {"compute_dtype": args.compute_dtype}


def _rows(args: argparse.Namespace, settings: FinetuneSettings) -> Any:
    strategy = _strategy(args)
    strategy.check(settings)
    # An order says more of its recipe than is trained on.
    examples = _examples(args.train, settings, ["relation", "bucket", *recipes.COLUMNS])
    rows = strategy.rows(tables.used_by_training(examples, args.scale, settings.allow_smaller))
    if "phase" in rows and rows["phase"].isna().any():
        raise ConfigError(
            f"strategy {strategy.name} adds rows to a training set whose rows have phases; take `order` out of "
            "the recipe (the column phase out of the table), or choose another strategy"
        )
    return rows


def _examples(path: Path, settings: FinetuneSettings, optional: Sequence[str]) -> Any:
    """Return examples as they stand in a file: made by sftlens training-set, one's own, or a task's published."""
    form = TASKS.get(settings.task)
    return form.read(path) if form.published else tables.facts(path, optional=optional, unique=False)


def _dev(args: argparse.Namespace, settings: FinetuneSettings) -> Any:
    """Return the questions and objects that early stopping looks at; None without it."""
    rule = _strategy(args).recipe(settings).early_stopping
    stopping = "--early-stopping" if settings.early_stopping or not rule else f"--strategy {args.strategy}"
    options.both("--dev", args.dev, stopping, rule)
    if not rule:
        return None
    table = _examples(args.dev, settings, ["split"])
    return tables.dev_facts(table, rule.facts, args.dev)[["question", "object"]]


def _strategy(args: argparse.Namespace) -> Strategy:
    """Return the strategy as the options gave it. Raises ConfigError as `strategies.make` does."""
    group = STRATEGIES.get(args.strategy).settings_class
    given = {name: getattr(args, name) for name in strategies.INPUTS if getattr(args, name)}
    own = options.nested("--strategy-settings", args.strategy_settings, group)
    return strategies.make(args.strategy, own, {"model": args.model, **given}, args.seed)


def train(args: argparse.Namespace, settings: FinetuneSettings, folder: Path) -> None:
    """Train as one of the processes; rank 0 fills `folder` with checkpoint/ and report.json."""
    from sftlens.inference import prompts
    from sftlens.models import checkpoints, identity
    from sftlens.training import loop, step

    rows = _rows(args, settings)
    tokenizer = checkpoints.load_tokenizer(args.model, args.bos)
    limit, continued = settings.max_length, rows["continued"] if "continued" in rows else rows["question"].isna()
    asked, told = rows[~continued], rows[continued]  # what is replayed stands behind the training set

    def encoded(table: Any) -> list[prompts.Sample]:
        asked, told = table["question"].tolist(), table["object"].tolist()
        return prompts.encode_samples(tokenizer, asked, told, limit, settings.task)

    samples = encoded(asked)
    if "phase" in asked:
        pairs = zip(samples, asked["phase"].tolist(), strict=True)
        samples = [dataclasses.replace(sample, phase=phase) for sample, phase in pairs]
    samples += prompts.encode_continuations(tokenizer, told["question"].tolist(), told["object"].tolist(), limit)
    first = os.environ.get("RANK", "0") == "0"
    dev = _dev(args, settings)
    looked_at = [] if dev is None else encoded(dev)
    watched = looks.facts(args, rows)
    asking = None if watched is None else looks.asked(args, watched, tokenizer, settings.task)
    steps = step.steps_of(len(samples), settings)
    with progress.bar(description="fine-tune", total=steps if first else 0, unit="step") as bar:
        update = bar.tell if first else (lambda steps, **values: None)
        resume = loop.Resume(args.resume, args.deadline) if args.resume else None
        how = (args.seed, update, resume, _strategy(args), looked_at, args.events, asking, args.compute_dtype)
        start = time.process_time()
        out = folder / "checkpoint"
        report = loop.finetune(args.model, samples, settings, tokenizer, out, *how, args.layout.threads)
        used_here = time.process_time() - start
    if first:
        identity.write_manifest(folder / "checkpoint")
        form = TASKS.get(settings.task)
        name = form.name if form.published else training_sets.name(rows)
        made: dict[str, Any] = {"train_set": name, "shares": training_sets.shares(rows)}
        made |= {**dataclasses.asdict(report), "peak_memory_bytes": provenance.peak_memory()}
        made |= {"cpu_seconds": used_here * args.processes}  # of each process the same work
        for name, there in {"dev_losses": dev is not None, "during": asking, "stopped": report.stopped}.items():
            if not there:
                del made[name]
        files.write_json(folder / "report.json", made)


def summary(report: dict[str, Any], settings: dict[str, Any], inputs: dict[str, str]) -> dict[str, Any]:
    """Return the stage's summary; what differs between two equal runs goes to its block `run`."""
    run = {"training_seconds": report.pop("seconds"), "training_cpu_seconds": report.pop("cpu_seconds")}
    run |= {"peak_memory_bytes": report.pop("peak_memory_bytes")}
    tokens, losses = report["supervised_tokens"], report["losses"]
    metrics = [
        {"metric": "examples", "value": float(report["examples"]), "n": report["examples"]},
        {"metric": "loss_first", "value": losses[0], "n": tokens[0]},
        {"metric": "loss_last", "value": losses[-1], "n": tokens[-1]},
    ]
    if stopped := report.get("stopped"):
        metrics.append({"metric": "stopped_after_step", "value": float(stopped["step"]), "n": stopped["facts"]})
    made = provenance.summary("finetune", settings=settings, inputs=inputs, metrics=metrics, **report)
    made["run"] |= run
    return made
