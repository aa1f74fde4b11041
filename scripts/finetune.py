"""Fine-tune a model on question-answer pairs, loss on the answers only (paper section 3).

  python scripts/finetune.py --model DIR --train order.parquet --scale 240 --out DIR
  python scripts/finetune.py --model DIR --train order.parquet --zero-stage 3 --processes 8 --out DIR

Writes a Hugging Face folder and, beside it, a summary with the relations' shares and the loss of every step.
With --processes N it starts itself N times on this node; any number trains the same batches. The training
set is any Parquet file with the columns question and object; its order is that of scripts/training_set.py.

With --state DIR a killed run goes on where it last saved its state (--checkpoint-minutes), and ends with the
bytes of a run that was never killed. Shortly before --time-limit-minutes are over, and at SIGTERM, it saves
its state and ends with exit status 75: run the same command again.
"""

import argparse
import dataclasses
import os
import sys
import time
from pathlib import Path
from typing import Any

import _cli
from sftlens import files, launch, provenance, stages
from sftlens.settings.finetuning import SAME_RESULT, FinetuneSettings


def main() -> None:
    args = _arguments()
    settings = _cli.settings(args, FinetuneSettings)
    if args.worker:
        with launch.worker():
            train(args, settings, args.worker)
        return
    if args.time_limit_minutes:
        args.deadline = time.time() + 60 * args.time_limit_minutes
    inputs = _cli.contents(args, "model", "train")
    if settings.deepspeed:
        inputs["deepspeed"] = _cli.content(Path(settings.deepspeed))
    identity = settings.model_dump(exclude={*SAME_RESULT, "deepspeed"})
    identity |= {name: getattr(args, name) for name in ("scale", "seed", "bos", "processes")}

    def compute(folder: Path) -> None:
        args.resume = stages.resume_folder(stage)
        if args.processes == 1:
            train(args, settings, folder)
        else:
            launch.start(Path(__file__), [*sys.argv[1:], "--worker", str(folder), *_handed_on(args)], args.processes)
        report = files.read_json(folder / "report.json")
        files.write_json(folder / "finetune.json", summary(report, identity, inputs, args.fingerprint))

    outputs = {"checkpoint": args.out, "finetune.json": args.summary or Path(f"{args.out}.json")}
    stage = _cli.described(args, "finetune", outputs=outputs, inputs=inputs, settings=identity)
    _cli.run_stage(stage, compute)


def _handed_on(args: argparse.Namespace) -> list[str]:
    """Options by which each process learns where the state is and when the time is over."""
    given = {"--resume": args.resume, "--deadline": args.deadline}
    return [text for flag, value in given.items() if value is not None for text in (flag, str(value))]


def _arguments() -> argparse.Namespace:
    parser = _cli.parser(__doc__, FinetuneSettings)
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face folder or base.json")
    parser.add_argument("--train", type=Path, required=True, help="ordered training set (scripts/training_set.py)")
    parser.add_argument("--scale", default="all", help="train on its first N rows, or on all (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the training order")
    parser.add_argument("--processes", type=int, default=1, help="processes on this node, one for each GPU")
    parser.add_argument("--bos", choices=["require", "none"], default="require", help="whether a BOS token is needed")
    parser.add_argument("--out", type=Path, required=True, help="Hugging Face folder to write")
    parser.add_argument("--summary", type=Path, help="summary to write (default: OUT.json)")
    parser.add_argument(
        "--time-limit-minutes", type=float, help="save the state and stop shortly before (exit status 75)"
    )
    # For the processes that this program starts.
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--resume", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--deadline", type=float, help=argparse.SUPPRESS)
    return parser.parse_args()


def train(args: argparse.Namespace, settings: FinetuneSettings, folder: Path) -> None:
    """Train as one of the processes; rank 0 fills `folder` with checkpoint/ and report.json."""
    from sftlens import checkpoints, finetuning, progress, prompts, training_batches, training_sets

    table = files.read_parquet(args.train, ["question", "object"])
    rows = training_sets.take(table, args.scale, settings.allow_smaller)
    tokenizer = checkpoints.load_tokenizer(args.model, args.bos)
    samples = prompts.encode_samples(tokenizer, rows["question"].tolist(), rows["object"].tolist(), settings.max_length)
    first = os.environ.get("RANK", "0") == "0"
    steps = training_batches.steps_of(len(samples), settings)
    with progress.bar(description="fine-tune", total=steps if first else 0, unit="step") as bar:
        update = bar.update if first else (lambda steps: None)
        resume = finetuning.Resume(args.resume, args.deadline) if args.resume else None
        out = folder / "checkpoint"
        report = finetuning.finetune(args.model, samples, settings, tokenizer, out, args.seed, update, resume)
    if first:
        checkpoints.write_manifest(folder / "checkpoint")
        files.write_json(
            folder / "report.json",
            {
                "train_set": training_sets.name(rows),
                "shares": training_sets.shares(rows),
                **dataclasses.asdict(report),
                "peak_memory_bytes": provenance.peak_memory(),
            },
        )


def summary(
    report: dict[str, Any], settings: dict[str, Any], inputs: dict[str, str], fingerprint: str
) -> dict[str, Any]:
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
    made = provenance.summary(
        "finetune", settings=settings, inputs=inputs, fingerprint=fingerprint, metrics=metrics, **report
    )
    made["run"] |= training
    return made


if __name__ == "__main__":
    _cli.run(main)
