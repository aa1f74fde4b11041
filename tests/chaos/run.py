"""Chaos: random small studies, disturbed at random moments until they are finished, must end as the undisturbed ones.

    python tests/chaos/run.py --rounds 100           by hand, hours; the table of docs/reliability.md
    python tests/chaos/run.py --rounds 3 --seed 7    the same rounds again

A round runs a study in a folder of its own. At random moments a random process of its tree (Snakemake, a job, a rank of
a training, a helper of probing) is killed, terminated or stopped for a while, a second driver is started beside the
first, the disk is filled, or the clock of owner files jumps. Then the same command is called again until it succeeds.
In the end every result, table and checkpoint must have the bytes of the undisturbed run, and nothing else may be left.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1] / "workflow")]
from study import CONFIG, configure, copy_repository  # noqa: E402

CALLS = 15
"""Calls of the same command after which a round that is still not finished has failed."""
LONGEST = 900
"""Seconds after which a call hangs."""
ONE = {"train_sets": ["mixed"], "scales": [16]}
VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"experiments": {"restoration": {**ONE, "ratios": [20]}}},
    {
        "experiments": {"restoration": {**ONE, "ratios": [5]}, "concentration": ONE},
        "finetuning": {**CONFIG["finetuning"], "keep": "deltas"},
    },
    {
        "experiments": {"scaling": {**ONE, "train_sets": ["D0", "mixed"], "base": False}},
        "finetuning": {**CONFIG["finetuning"], "zero_stage": 2},
        "probing": {**CONFIG["probing"], "processes": 2},
    },
    {
        "experiments": {"divergence": {**ONE, "base": False}, "restoration": {**ONE, "ratios": [20]}},
        "models": {"tiny": {**CONFIG["models"]["tiny"], "launch": {"processes": 2}}},
    },
    {"experiments": {"mastery": {"retest": 6}, "scaling": {**ONE, "base": False, "strategies": ["lora", "kl"]}}},
    {"experiments": {"blocks": {**ONE, "size": 1}}, "finetuning": {**CONFIG["finetuning"], "keep": "none"}},
)
"""What is changed in the small study: one cell or two of another kind, with deltas, shards, helpers, several ranks."""
WHOLE = 20
"""Of so many rounds one plays the whole small study, the first variant."""
UNCOMPARED = ("logs/", ".state/", "partial/")
"""Folders of a study in which two equal runs may differ."""
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


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Call the command of a study, as its user would."""
    command = [sys.executable, "-m", "sftlens", "study", "--configfile", "study.yaml", "--cores", "2"]
    environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "OMP_NUM_THREADS": "1"}
    with (folder / "run.log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)


def disturb(folder: Path, driver: subprocess.Popen[bytes], draw: random.Random, pause: float) -> str:
    """Do one random thing to a running study; return what it was."""
    processes = tree(driver.pid)
    victim = draw.choice(processes)
    what = draw.choice(
        ["kill", "kill", "terminate", "stop", "kill the driver", "kill all", "second driver", "full disk", "clock"]
    )
    with suppress(ProcessLookupError):
        if what == "kill":
            os.kill(victim, signal.SIGKILL)
        elif what == "terminate":
            os.kill(victim, signal.SIGTERM)
        elif what == "stop":
            os.kill(victim, signal.SIGSTOP)
            time.sleep(pause)
            os.kill(victim, signal.SIGCONT)
        elif what == "kill the driver":  # its jobs live on
            os.kill(driver.pid, signal.SIGKILL)
        elif what == "kill all":  # as when the machine goes down
            for process in processes:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        elif what == "second driver":
            other = start(folder)
            time.sleep(draw.uniform(1, 8))
            if draw.random() < 0.5:
                os.killpg(other.pid, signal.SIGKILL)
            other.wait(LONGEST)
        elif what == "full disk":
            with filled(folder) as full:
                time.sleep(draw.uniform(1, 5))
            what += "" if full else " (not possible here)"
        else:
            ahead = draw.choice([-3600, 3600])
            for owner in folder.glob("results/**/.state/**/owner"):
                with suppress(OSError):
                    os.utime(owner, (time.time() + ahead,) * 2)
    name = (
        f", process {processes.index(victim) + 1} of {len(processes)}" if what in ("kill", "terminate", "stop") else ""
    )
    return what + name


@contextmanager
def filled(folder: Path) -> Iterator[bool]:
    """Fill the file system of the round, which is one of its own where that was possible; yield whether it was."""
    if not os.path.ismount(folder.parent):
        yield False
        return
    filler = folder.parent / "filler"
    with suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(bytes(1 << 20))
    try:
        yield True
    finally:
        filler.unlink(missing_ok=True)


def end(folder: Path, driver: subprocess.Popen[bytes]) -> None:
    """Wait until nothing of the round runs any more: jobs of a killed driver go on, and so may a launched training."""
    until = time.monotonic() + LONGEST
    while time.monotonic() < until:
        driver.poll()
        mine = [
            p for p in Path("/proc").iterdir() if p.name.isdigit() and p.name != str(os.getpid()) and _in(p, folder)
        ]
        if not mine:
            return
        time.sleep(0.5)
    raise TimeoutError(f"processes still run: {', '.join(p.name for p in mine)}")


def _in(process: Path, folder: Path) -> bool:
    with suppress(OSError):
        return Path(os.readlink(process / "cwd")).is_relative_to(folder) and (process / "cmdline").read_bytes() != b""
    return False


def contents(folder: Path) -> dict[str, str]:
    """Return a hash of each file of the results, by name; of a summary without what it says of its own run."""
    found = {}
    for path in sorted((folder / "results").rglob("*")):
        name = path.relative_to(folder / "results").as_posix()
        if path.is_file() and not any(f"/{part}" in f"/{name}" for part in UNCOMPARED) and path.suffix != ".tsv":
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
    return b"" if path.name == ".snakemake_timestamp" else path.read_bytes()


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


def disturbed(folder: Path, one: Round, draw: random.Random, faults: int, pause: float, seconds: float) -> None:
    """Run the study of a folder to its end, with so many faults, each within `seconds` of a call's start."""
    for call in range(CALLS):
        one.calls = call + 1
        driver = start(folder)
        while faults and driver.poll() is None:
            time.sleep(draw.uniform(0.2, seconds))
            if driver.poll() is None:
                one.done.append(disturb(folder, driver, draw, pause))
                faults -= 1
            if draw.random() < 0.5:
                break
        status = driver.wait(LONGEST)
        if status == 0 and not faults:
            end(folder, driver)
            return
        if draw.random() < 0.5:  # else the next call meets what still runs
            end(folder, driver)
        if status == 0:
            faults = 0  # it was faster than chaos
    raise TimeoutError(f"not finished after {CALLS} calls")


def play(number: int, seed: int, reference: Path, variant: int, options: argparse.Namespace) -> Round:
    """Play one round; the folder of one that failed is kept."""
    one, draw = Round(number, variant), random.Random(f"{seed} {number}")
    with space(options.keep / f"round{number}") as place:
        folder = copy_repository(place / "repository")
        configure(folder, {**deepcopy(CONFIG), **VARIANTS[variant]})
        # Half of the rounds begin where only the cells are left to do: there most of the stages are.
        if draw.random() < 0.5:
            for part in ("facts", "models"):
                shutil.copytree(reference / "results" / part, folder / "results" / part, symlinks=True)
        try:
            disturbed(folder, one, draw, draw.randint(1, options.faults), options.pause, options.seconds)
            one.fault = compare(contents(reference), contents(folder)) or "; ".join(leavings(folder)[:3])
        except (OSError, subprocess.TimeoutExpired) as error:
            one.fault = str(error)
        if one.fault:
            shutil.copytree(folder, options.keep / f"failed{number}", symlinks=True, dirs_exist_ok=True)
    return one


@contextmanager
def space(place: Path) -> Iterator[Path]:
    """Yield an empty folder, on a file system of its own of 300 MB where that may be mounted; take both away again."""
    place.mkdir(parents=True)
    mounted = os.geteuid() == 0 and not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", str(place)], capture_output=True, check=False
    ).returncode  # fmt: skip
    try:
        yield place
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(place)], check=False)
        shutil.rmtree(place, ignore_errors=True)


def undisturbed(place: Path, variant: int) -> Path:
    """Run the study of a variant to its end, once; return its folder."""
    folder = place / f"reference{variant}"
    if not (folder / "finished").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        copy_repository(folder)
        configure(folder, {**deepcopy(CONFIG), **VARIANTS[variant]})
        if start(folder).wait(LONGEST):
            sys.exit(f"the undisturbed study failed: see {folder}/run.log")
        (folder / "finished").touch()
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--at-once", type=int, default=1, help="rounds at the same time: one with a stop mostly waits")
    parser.add_argument("--seed", type=int, default=0, help="of the rounds: the same seed draws the same faults")
    parser.add_argument("--faults", type=int, default=5, help="most faults in a round")
    parser.add_argument("--pause", type=float, default=130.0, help="seconds that a process is stopped for")
    parser.add_argument("--seconds", type=float, default=25.0, help="most seconds between two faults")
    parser.add_argument("--keep", type=Path, help="folder of references and of rounds that failed")
    options = parser.parse_args()
    options.keep = options.keep or Path(tempfile.mkdtemp(prefix="chaos-"))
    rounds, kinds = [], Counter[str]()
    variants = [0 if n % WHOLE == WHOLE - 1 else 1 + n % (len(VARIANTS) - 1) for n in range(options.rounds)]
    references = {variant: undisturbed(options.keep, variant) for variant in sorted({*variants})}
    with ThreadPoolExecutor(options.at_once) as pool:
        played = [pool.submit(play, n, options.seed, references[v], v, options) for n, v in enumerate(variants)]
        for future in as_completed(played):
            one = future.result()
            rounds.append(one)
            kinds.update(done.partition(",")[0] for done in one.done)
            print(
                f"round {one.number} variant {one.variant}: {one.fault or 'equal'}; calls {one.calls}; "
                + ", ".join(one.done),
                flush=True,
            )
    equal = sum(not one.fault for one in rounds)
    print(f"{equal} of {len(rounds)} rounds ended as the undisturbed study")
    print("faults: " + ", ".join(f"{kind} {count}" for kind, count in kinds.most_common()))
    sys.exit(equal < len(rounds))


if __name__ == "__main__":
    main()
