"""Running a stage: compute its outputs once for each key, publish them atomically, never compute them twice.

The key is the content of what a result depends on: inputs, settings, and the number in `result_version`. A finished
result stays in `<state>/<stage>-<key>/done`, so that a rerun with an unchanged key republishes it. Each claim
works in a folder of its own: an owner that stalled and was taken over cannot touch the new owner's work.
"""

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sftlens import files
from sftlens.errors import DataError
from sftlens.runtime import lock

COPY_LIMIT_BYTES = 64 << 20
POLL_SECONDS = 0.5
TELL_SECONDS = 300.0
"""Between two lines that say whom one waits for."""
RESUME = "resume"


@dataclass(frozen=True)
class Stage:
    """What a stage writes and what its result depends on."""

    name: str
    """Name of the stage, such as `finetune`."""
    outputs: Mapping[str, Path]
    """Final path of each output by its name in the folder that `compute` fills."""
    depends: Mapping[str, Any] = field(default_factory=dict)
    """JSON values: content hashes of the inputs, the settings, the version of the results."""
    state: Path | None = None
    """Folder for unfinished and finished work; None: compute and publish, keep nothing."""

    @property
    def key(self) -> str:
        """Sixteen hexadecimal digits that stand for the content of `depends`."""
        text = json.dumps(self.depends, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def finished(stage: Stage) -> Path | None:
    """Return the folder that holds a stage's finished outputs; None while there is no intact one."""
    folder = _folder(stage)
    return folder / "done" if folder and _intact(folder) else None


def resume_folder(stage: Stage) -> Path | None:
    """Return the folder for what an unfinished computation need not do again; None for a stage without state.

    It survives the death of an owner and is handed on to whoever takes over; an owner that merely stalled may still
    write there, so each should write files of its own. Deleted once the stage is finished.
    """
    folder = _folder(stage)
    if not folder:
        return None
    (folder / RESUME).mkdir(parents=True, exist_ok=True)
    return folder / RESUME


def forget(stage: Stage) -> None:
    """Delete finished and unfinished work of a stage, so that it is computed anew the next time."""
    if folder := _folder(stage):
        shutil.rmtree(folder, ignore_errors=True)


def _folder(stage: Stage) -> Path | None:
    return stage.state / f"{stage.name}-{stage.key}" if stage.state else None


def run(stage: Stage, compute: Callable[[Path], None]) -> bool:
    """Make the outputs of a stage; `compute(folder)` writes each of them under its name into `folder`.

    Returns whether anything was computed: False when a finished result with the same key was published.
    """
    folder = _folder(stage)
    if folder is None:  # in a folder beside the first output
        first = next(iter(stage.outputs.values()))
        with files.new_folder(first.parent), files.naming(first):
            work = files.scratch(first.with_name(stage.name), "work")
            try:
                work.mkdir()
                compute(work)
                for name, target in stage.outputs.items():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    files.replace(work / name, target)
            finally:
                files.remove(work)
        return True
    path, computed = folder / "owner", False
    owner, told = lock.Owner(path), 0.0
    while not computed and not _intact(folder):
        if token := lock.claim(path, owner):
            with lock.kept(path, token):
                computed = not _intact(folder) and _compute_into(folder, token, compute)
        else:
            if time.monotonic() > told:
                print(
                    f"{stage.name}: waiting for {owner.name}, which computes the same; its last sign of life was "
                    f"{owner.silent():.0f} s ago, after {lock.STALE_SECONDS:.0f} s without one this process takes over",
                    file=sys.stderr,
                    flush=True,
                )
                told = time.monotonic() + TELL_SECONDS
            time.sleep(POLL_SECONDS)
    shutil.rmtree(folder / RESUME, ignore_errors=True)
    for name, target in stage.outputs.items():
        _publish(folder / "done" / name, target)
    return computed


def _compute_into(folder: Path, token: str, compute: Callable[[Path], None]) -> bool:
    """Compute `done` for the claim `token`; False, with nothing done, when the claim was taken over meanwhile."""
    owner, done, work = folder / "owner", folder / "done", folder / f"work-{token}"
    for leavings in folder.glob("work-*"):  # of owners that died; one that only stalled may still write there
        shutil.rmtree(leavings, ignore_errors=True)
    work.mkdir()
    try:
        compute(work)
        if not lock.holds(owner, token):
            return False
        files.remove(done)
        os.replace(work, done)
        files.write_json(folder / "done.json", _contents(done))
    except Exception:
        # Who took over has cleared our folder away: that is no failure, and its result will do.
        if lock.holds(owner, token):
            raise
        return False
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return True


def _contents(folder: Path) -> dict[str, str]:
    """Size and content of each file."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        found[path.relative_to(folder).as_posix()] = f"{path.stat().st_size} {files.known_sha256(path)}"
    return found


def _intact(folder: Path) -> bool:
    """Whether finished work is there as it was recorded, to the last byte."""
    done, record = folder / "done", folder / "done.json"
    try:
        recorded = files.read_json(record, dict[str, str])
        sizes = {p.relative_to(done).as_posix(): str(p.stat().st_size) for p in done.rglob("*") if p.is_file()}
        if not done.is_dir() or {name: said.split(" ")[0] for name, said in recorded.items()} != sizes:
            return False
        # An earlier version recorded of large files the size alone.
        return all(
            " " not in said or said.endswith(f" {files.known_sha256(done / name)}") for name, said in recorded.items()
        )
    except DataError:
        return False


def _publish(source: Path, target: Path) -> None:
    with files.atomic_path(target) as partial:
        if source.is_dir():
            shutil.copytree(source, partial, copy_function=_link_or_copy)
        else:
            _link_or_copy(source, partial)
    # Snakemake compares times: a republished output must not look older than the input that led to it.
    for path in [target, *target.rglob("*")] if target.is_dir() else [target]:
        os.utime(path)


def _link_or_copy(source: str | Path, target: str | Path) -> None:
    # Small results are copied, so that editing one in place cannot spoil the finished work behind it.
    if os.path.getsize(source) > COPY_LIMIT_BYTES:
        try:
            os.link(source, target)
            return
        except OSError:
            pass
    shutil.copyfile(source, target)
