"""What nothing of a study needs any more: finished work that no result was published from, and what dead owners left.

A result is published from finished work that lies in the state under its key (`runtime.stages`), and the record of that
work holds the hash of each of its files. So finished work is needed where one of its files is an output that a job of
the present configuration has; and, as it may be the result that is missing, as long as a job of its stage has none.
"""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sftlens import files
from sftlens.config.study import Study
from sftlens.dag import recorded
from sftlens.dag.cells import distinct
from sftlens.dag.paths import Paths
from sftlens.dag.recorded import RESULTS, SNAPSHOT
from sftlens.errors import DataError, SftlensError
from sftlens.results.unfinished import made
from sftlens.runtime import lock
from sftlens.runtime.result_version import RESULT_VERSION

MEASUREMENTS = {"completions", "levels", "collect", "merge", "check", "repair"}
"""Stages that no job of the grid has, or whose work is what other work goes on from."""
WORK = re.compile(rf"({'|'.join(RESULT_VERSION.keys() - MEASUREMENTS)})-[0-9a-f]{{16}}")
"""Name of a folder of a state: its stage and its key."""
STAGES = {"choose_templates": "templates", "training_order": "training_set"}
"""Name of a job -> that of its stage, where it is another one."""
SHARED = ("models/[!.]*/base-*", "models/[!.]*/mastery-*", "facts/world-*", "facts/facts-*")
"""Folders below results/ that studies share."""
FRESH_SECONDS = 600.0
"""Younger work is left alone: a run may be about to publish it."""


@dataclass(frozen=True)
class Leaving:
    """A folder of a state, or one that studies share, and what is to be said of it."""

    path: Path
    why: str
    removable: bool
    shared: bool = False

    def size(self) -> int:
        """Bytes that its removal frees: a large file that was published is one file with two names."""
        found = (path.lstat() for path in [self.path, *self.path.rglob("*")] if not path.is_dir() or path.is_symlink())
        return sum(entry.st_size for entry in found if entry.st_nlink == 1)


def of_study(study: Study) -> list[Leaving]:
    """Return what nothing of a study needs in its own state, and what is left alone there though it is not known."""
    paths = Paths(study)
    return _of_state(Path(paths.state), *_outputs([study]))


def of_all() -> list[Leaving]:
    """Return what no study below results/ needs of that which studies share.

    Raises ConfigError or DataError where one of them cannot be read, or has not all of it: what it would need is not
    known then.
    """
    used: set[Path] = set()
    studies = []
    for snapshot in sorted(Path(RESULTS).glob(f"*/{SNAPSHOT}")):
        study = recorded.made(snapshot.parent)
        studies.append(study)
        paths = Paths(study)
        used |= {Path(paths.world), Path(paths.facts).parent}
        for model in study.models:
            folders = {Path(paths.base_folder(model)), Path(paths.mastery_folder(model))}
            if gone := [folder for folder in folders if not folder.is_dir()]:
                raise DataError(f"{snapshot}: its {gone[0]} is not there; run this study to its end, or delete it")
            used |= {*folders, Path(paths.instruct(model)).parent}
    there = (path for pattern in SHARED for path in sorted(Path(RESULTS).glob(pattern)))
    found = [Leaving(path, "no study here refers to it", True) for path in there if path not in used]
    found += _of_state(Path(RESULTS, "models/.state"), *_outputs(studies))
    return [Leaving(one.path, one.why, one.removable, shared=True) for one in found]


def _outputs(studies: Iterable[Study]) -> tuple[set[str], set[str]]:
    """Return the records `SIZE SHA256` of all outputs, and the stages of which an output is missing."""
    there, missing = [], set()
    for study in studies:
        paths, products = Paths(study), distinct(study)
        jobs = [(product.stage, Path(paths.summary(product)), made(paths, product)) for product in products]
        shared = paths.shared_work(products)
        jobs += [(stage, Path(output), Path(output).exists()) for _, stage, output, _ in shared]
        for stage, output, done in jobs:
            if not done:
                missing.add(STAGES.get(stage, stage))
            elif output.is_dir():  # a world
                there += [path for path in output.rglob("*") if path.is_file()]
            else:
                there.append(output)
    return {f"{path.stat().st_size} {files.known_sha256(path)}" for path in there}, missing


def _of_state(state: Path, outputs: set[str], missing: set[str]) -> list[Leaving]:
    found = []
    for folder in sorted(state.iterdir()) if state.is_dir() else []:
        if not (named := WORK.fullmatch(folder.name)) or folder.is_symlink():
            found.append(Leaving(folder, "not of a job of this version of sftlens: left alone", False))
            continue
        owner = lock.Owner(folder / "owner")
        if (folder / "owner").exists() and not owner.stale():
            found.append(Leaving(folder, f"{owner.name} works there: left alone", False))
            continue
        if time.time() - max(path.lstat().st_mtime for path in [folder, *folder.glob("*")]) < FRESH_SECONDS:
            continue
        try:
            record = files.read_json(folder / "done.json", dict[str, str])
        except SftlensError:
            record = {}
        if record and not all(" " in said for said in record.values()):
            found.append(Leaving(folder, "recorded by another version of sftlens: left alone", False))
        elif named[1] not in missing and outputs.isdisjoint(record.values()):
            why = "finished, and no result of the study" if record else "unfinished, and every job of its stage is done"
            found.append(Leaving(folder, why, True))
        else:
            dead = sorted(folder.glob("work-*"))
            found += [Leaving(path, "left by a process that died", True) for path in dead]
    return found
