"""What rounds of chaos share: the processes of a study, its results as hashes, and how two of them differ."""

import hashlib
import json
import os
import random
import re
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

CALLS = 15
"""Calls of the same command after which a round that is still not finished has failed."""
LONGEST = 900
"""Seconds after which a call hangs."""
UNCOMPARED = ("logs/", ".state/", "partial/")
"""Folders of a study in which two equal runs may differ."""
STAMP = ".snakemake_timestamp"
"""Snakemake's own mark of when a folder was made; one that a job published when its shell had been killed has none."""
LEAVINGS = (".*.partial-*", ".*.old", ".*.work-*", "work-*", "owner", ".owner.*", "*.tmp")
"""Names that no finished study may hold."""


@dataclass
class Round:
    """What was done in a round, and how it ended."""

    number: int
    variant: int
    done: list[str] = field(default_factory=list)
    calls: int = 0
    fault: str = ""
    """Why it failed; empty: it ended as the undisturbed run."""


def tree(pid: int) -> list[int]:
    """Return a process and all that it started, as far as they still are its children."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, left = [], [pid]
    while left:
        found.append(left.pop())
        left += children.get(found[-1], [])
    return found


def end(folder: Path, driver: subprocess.Popen[bytes]) -> None:
    """Wait until nothing of the round runs any more: jobs of a killed driver go on, and so may a launched training."""
    until = time.monotonic() + LONGEST
    while time.monotonic() < until:
        driver.poll()
        if not (left := running(folder)):
            return
        time.sleep(0.5)
    raise TimeoutError(f"processes still run: {', '.join(map(str, left))}")


def running(folder: Path) -> list[int]:
    """Return the processes that work in a folder."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and process.name != str(os.getpid()):
            with suppress(OSError):
                if Path(os.readlink(process / "cwd")).is_relative_to(folder) and (process / "cmdline").read_bytes():
                    found.append(int(process.name))
    return sorted(found)


def contents(folder: Path) -> dict[str, str]:
    """Return a hash of each file of the results, by name; of a summary without what it says of its own run."""
    found = {}
    for path in sorted((folder / "results").rglob("*")):
        name = path.relative_to(folder / "results").as_posix()
        compared = path.suffix != ".tsv" and path.name != STAMP
        if path.is_file() and compared and not any(f"/{part}" in f"/{name}" for part in UNCOMPARED):
            found[name] = hashlib.sha256(_lasting(path)).hexdigest()
    return found


def _lasting(path: Path) -> bytes:
    if path.suffix == ".json":
        value = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(value, dict):
            value.pop("run", None)
            report = value.get("report")
            if isinstance(report, dict):
                report.pop("seconds", None)
        return json.dumps(value, sort_keys=True).encode()
    if path.name == "report.html":  # without what it says of each job's run: when, how long, in how much memory
        return re.sub(rb'<section id="cells">.*?(?=<section id="settings">)', b"", path.read_bytes(), flags=re.DOTALL)
    return path.read_bytes()


def leavings(folder: Path) -> list[str]:
    """Return what no finished study may hold."""
    return sorted(
        path.relative_to(folder).as_posix() for name in LEAVINGS for path in (folder / "results").rglob(name)
    )  # fmt: skip


def compare(known: dict[str, str], made: dict[str, str]) -> str:
    """Return the first difference of two results, in words; empty where there is none."""
    for name in sorted(known.keys() | made.keys()):
        if known.get(name) != made.get(name):
            kind = "missing" if name not in made else "new" if name not in known else "other bytes"
            return f"{name}: {kind}"
    return ""


def disturbed(
    folder: Path,
    one: Round,
    draw: random.Random,
    faults: int,
    seconds: float,
    start: Callable[[], subprocess.Popen[bytes]],
    disturb: Callable[[subprocess.Popen[bytes]], str],
) -> None:
    """Run the study of a folder to its end, with so many faults, each within `seconds` of the one before.

    Raises TimeoutError where it is not finished after CALLS calls of the same command, or something hangs.
    """
    for call in range(CALLS):
        one.calls = call + 1
        driver = start()
        while faults and driver.poll() is None:
            time.sleep(draw.uniform(0.2, seconds))
            if driver.poll() is None:
                one.done.append(disturb(driver))
                faults -= 1
            if draw.random() < 0.3:
                break
        status = driver.wait(LONGEST)
        if status == 0:
            end(folder, driver)
            if not faults:
                return
            faults = 0  # it was faster than chaos
        elif draw.random() < 0.5:  # else the next call meets what still runs
            end(folder, driver)
    raise TimeoutError(f"not finished after {CALLS} calls")
