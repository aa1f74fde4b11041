"""Prepare a base model: pretrain a tiny one, or record a local folder or a hub id.

  sftlens base --source pretrain --geometry '{"layers": 2, ...}' --corpus corpus.txt --out DIR
  sftlens base --source path --path /models/llama --out DIR

DIR/base.json records the folder, the revision, and size and SHA-256 of each file, computed once.
"""

import argparse
import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

from sftlens import files
from sftlens.cli import ENTRY
from sftlens.commands import options, program
from sftlens.config.stages.data import EXPOSURES
from sftlens.config.stages.model import FLAWED, BaseSettings
from sftlens.errors import ModelError
from sftlens.models import identity
from sftlens.runtime import launch, progress, provenance

REPORT = "report.json"
"""Where several processes leave what they report."""


def main() -> None:
    parser = options.parser(__doc__, BaseSettings)
    parser.add_argument("--corpus", type=Path, help="text to pretrain on, one document a line")
    parser.workflow.add_argument("--name", default="base", help="the model's name in messages")
    parser.add_argument("--out", type=Path, required=True, help="folder of base.json (and of the checkpoint)")
    # For the processes that this program starts.
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    settings = options.settings(args, BaseSettings)
    pretrained = settings.source == "pretrain"
    if args.worker:
        with launch.worker():
            _pretrain_as_worker(args, settings)
        return

    stamp = ""
    if settings.source == "path":  # names, sizes and times of its files, so that a changed model is recorded anew
        folder = identity.resolve(Path(settings.path or ""))
        stats = {path.name: path.stat() for path in sorted(folder.iterdir()) if path.is_file()}
        stamp = json.dumps({name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()})
    seen = args.state and args.state / f"{args.out.resolve().name}-{args.name}.json"
    if not pretrained:
        args.state = None  # a kept pointer could outlive the folder it names
    outputs = {name: args.out / name for name in ["base.json"] + (["checkpoint"] if pretrained else [])}
    inputs = {"corpus": program.content(args.corpus), "folder": stamp}
    if pretrained and settings.pretraining.flawed:
        if args.corpus is None:
            raise ModelError("pretraining.flawed needs --corpus: a corpus with the table of its facts beside it")
        outputs[FLAWED] = args.out / FLAWED
        inputs["facts"] = program.content(args.corpus.with_name(EXPOSURES))
    compute = partial(_compute, args, settings)
    program.stage(args, "base", outputs, inputs, settings.model_dump(), compute)

    if seen and not pretrained:
        # Record what the model holds; say so where the same name stood for another model before.
        now = identity.identity(args.out / "base.json")
        if seen.is_file() and files.read_json(seen, dict[str, Any]).get("identity") != now:
            print(
                f"base: {args.name} at {args.path} is another model than the one its results were made with; they are "
                "made again (to keep both, give this model a name of its own)",
                file=sys.stderr,
            )
        files.write_json(seen, {"identity": now, "path": args.path})


def _compute(args: Any, settings: BaseSettings, folder: Path) -> None:
    """Fill `folder` with base.json and, of a pretrained model, the checkpoint."""
    report: dict[str, Any] = {}
    if settings.source == "pretrain":
        target, shown = folder / "checkpoint", "checkpoint"
        report = _pretrain(target, args, settings)
    else:
        from sftlens.models import checkpoints
        from sftlens.models.sources import hub

        if settings.source == "path":
            target = identity.resolve(Path(settings.path or ""))
        else:  # fetched at its revision, safetensors only
            target = hub.fetch(settings.path or "", settings.revision, args.name)
            if target.name != settings.revision:
                print(
                    f"models.{args.name}: {settings.path} at {settings.revision} is commit {target.name}; "
                    f"set `revision: {target.name}` to have the same model again",
                    file=sys.stderr,
                )
        shown = os.path.abspath(target)
        checkpoints.check_geometry(target, settings.geometry.model_dump() if settings.geometry else {}, args.name)
        checkpoints.check_weights(target)
    pointer = {
        "schema": provenance.SCHEMA_VERSION,
        "source": settings.source,
        "id": settings.path,
        "revision": target.name if settings.source == "hub" else settings.revision,
        "path": shown,
        "files": identity.describe(target),
        "report": report,
        "run": provenance.circumstances(),
    }
    files.write_json(folder / "base.json", pointer)


def _pretrain(target: Path, args: Any, settings: BaseSettings) -> dict[str, Any]:
    from sftlens.synthetic import pretraining

    if args.corpus is None:
        raise ModelError("--source pretrain needs --corpus: the text that sftlens world writes")
    processes, folder, corpus = settings.pretraining.processes, target.parent, args.corpus
    if percent := settings.pretraining.flawed:
        from sftlens.synthetic import flawed

        false = flawed.table(corpus, percent, settings.pretraining.seed)
        files.write_parquet(folder / FLAWED, false)
        texts = flawed.plant(pretraining.read_documents(corpus), false)
        corpus = folder / "corpus.txt"
        files.write_text(corpus, "".join(f"{text}\n" for text in texts))
    if processes == 1:
        return pretraining.pretrain(corpus, settings.shape, settings.pretraining, target, progress=progress.bar)
    launch.share_threads(processes)
    arguments = [*sys.argv[1:], "--corpus", str(corpus), "--worker", str(folder)]
    launch.start(ENTRY, ["base", *arguments], launch.Layout(processes), folder)
    report = files.read_json(folder / REPORT)
    (folder / REPORT).unlink()
    return report


def _pretrain_as_worker(args: Any, settings: BaseSettings) -> None:
    """Pretrain as one of several processes; the first fills the folder."""
    import torch

    from sftlens.synthetic import pretraining

    rank, processes = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE"))
    shown = progress.bar if rank == 0 else (lambda steps, _: steps)
    target = args.worker / "checkpoint"
    torch.distributed.init_process_group("gloo")
    report = pretraining.pretrain(args.corpus, settings.shape, settings.pretraining, target, shown, rank, processes)
    torch.distributed.destroy_process_group()
    if rank == 0:
        files.write_json(args.worker / REPORT, report)
