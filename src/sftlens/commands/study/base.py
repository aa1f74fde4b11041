"""Make the pointer to a base model: pretrain a tiny one, or point to a local folder or a hub id.

  sftlens base --source pretrain --geometry '{"layers": 2, ...}' --corpus corpus.txt --out DIR
  sftlens base --source path --path /models/llama --out DIR

DIR/base.json records the folder, the revision, and size and SHA-256 of each file, computed once.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from sftlens import files
from sftlens.cli import ENTRY
from sftlens.commands import options, program
from sftlens.config.stages.model import BaseSettings
from sftlens.errors import ConfigError, ModelError
from sftlens.models import identity
from sftlens.runtime import launch, provenance

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
    _check(settings)
    if args.worker:
        with launch.worker():
            _work(args, settings)
        return
    seen = args.state and args.state / f"{args.out.resolve().name}-{args.name}.json"
    if settings.source != "pretrain":
        args.state = None  # a kept pointer could outlive the folder it names
    names = ["base.json"] + (["checkpoint"] if settings.source == "pretrain" else [])
    program.stage(
        args,
        "base",
        outputs={name: args.out / name for name in names},
        inputs={"corpus": program.content(args.corpus), "folder": _stamp(settings)},
        settings=settings.model_dump(),
        compute=lambda folder: _compute(folder, args, settings),
    )
    if seen and settings.source != "pretrain":
        _say_if_changed(args, seen)


def _say_if_changed(args: Any, seen: Path) -> None:
    """Record what the model holds; say so where the same name stood for another model before."""
    now = identity.identity(args.out / "base.json")
    if seen.is_file() and files.read_json(seen)["identity"] != now:
        print(
            f"base: {args.name} at {args.path} is another model than the results there are were made with; they are "
            "made again (to keep both, give this model a name of its own)",
            file=sys.stderr,
        )
    files.write_json(seen, {"identity": now, "path": args.path})


def _check(settings: BaseSettings) -> None:
    if settings.source == "pretrain" and not settings.geometry:
        raise ConfigError("option --geometry: missing; --source pretrain needs the shape of the model to make")
    if settings.source != "pretrain" and not settings.path:
        raise ConfigError(f"option --path: missing; --source {settings.source} needs a folder or a hub id")
    if settings.source == "hub" and not settings.revision:
        raise ConfigError("option --revision: give a commit of the hub id (40 hexadecimal digits), a branch or a tag")


def _stamp(settings: BaseSettings) -> str:
    """Return names, sizes and times of a local model's files, so that a changed model is recorded anew."""
    if settings.source != "path":
        return ""
    folder = identity.resolve(Path(settings.path or ""))
    stats = {path.name: path.stat() for path in sorted(folder.iterdir()) if path.is_file()}
    return json.dumps({name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()})


def _compute(folder: Path, args: Any, settings: BaseSettings) -> None:
    report: dict[str, Any] = {}
    if settings.source == "pretrain":
        target, shown = folder / "checkpoint", "checkpoint"
        report = _pretrain(target, args, settings)
    else:
        from sftlens.models import checkpoints

        target = _fetch(settings, args.name)
        shown = os.path.abspath(target)
        declared = settings.geometry.model_dump() if settings.geometry else {}
        checkpoints.check_geometry(target, declared, args.name)
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
    from sftlens.runtime import progress
    from sftlens.synthetic import pretraining

    if args.corpus is None:
        raise ModelError("--source pretrain needs --corpus: the text that sftlens world writes")
    processes = settings.pretraining.processes
    if processes == 1:
        return pretraining.pretrain(args.corpus, settings.shape, settings.pretraining, target, progress=progress.bar)
    folder = target.parent
    launch.share_threads(processes)
    launch.start(ENTRY, ["base", *sys.argv[1:], "--worker", str(folder)], launch.Layout(processes), folder)
    report = files.read_json(folder / REPORT)
    (folder / REPORT).unlink()
    return report


def _work(args: Any, settings: BaseSettings) -> None:
    """Pretrain as one of several processes; the first fills the folder."""
    import torch

    from sftlens.runtime import progress
    from sftlens.synthetic import pretraining

    rank, processes = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE"))
    shown = progress.bar if rank == 0 else (lambda steps, _: steps)
    target, group = args.worker / "checkpoint", pretraining.Group(rank, processes)
    torch.distributed.init_process_group("gloo")
    report = pretraining.pretrain(args.corpus, settings.shape, settings.pretraining, target, shown, group)
    torch.distributed.destroy_process_group()
    if rank == 0:
        files.write_json(args.worker / REPORT, report)


def _fetch(settings: BaseSettings, name: str) -> Path:
    """Return the local folder of an existing model; a hub id is fetched at its revision, safetensors only."""
    if settings.source == "path":
        return identity.resolve(Path(settings.path or ""))
    from sftlens.models import hub

    found = hub.fetch(settings.path or "", settings.revision, name)
    if found.name != settings.revision:
        print(
            f"models.{name}: {settings.path} at {settings.revision} is commit {found.name}; "
            f"set `revision: {found.name}` to have the same model again",
            file=sys.stderr,
        )
    return found
