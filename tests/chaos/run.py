"""Chaos: random small studies, disturbed at random moments until they are finished, must end as the undisturbed ones.

    python tests/chaos/run.py --rounds 100           by hand, hours; the table of docs/reliability.md
    python tests/chaos/run.py --rounds 3 --seed 7    the same rounds again

A round runs a study in a folder of its own, from nothing, from a finished base model, or from some finished cells; half
of the last only up to the table of results. At random moments a random process of its tree (Snakemake, a job, a rank
of a training, a helper of probing) is killed, terminated or stopped for a while, a second driver is started beside the
first, the disk is filled, or the clock of owner files jumps. Then the same command is called again until it succeeds.
In the end every result, table and checkpoint must have the bytes of the undisturbed run, and nothing else may be left.
"""

import argparse
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
from pathlib import Path
from threading import Lock
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "workflow")]
from rounds import LONGEST, Round, compare, contents, disturbed, leavings, tree  # noqa: E402
from study import CONFIG, configure, copy_repository, copy_run  # noqa: E402

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
TABLE = "results/mini/results.parquet"
MAKING = [Lock() for _ in VARIANTS]
"""Held by who makes the undisturbed study of a variant."""
SOME = "from some cells"
WHOLE = 20
"""Of so many rounds one plays the whole small study, the first variant."""


def start(folder: Path, *targets: str) -> subprocess.Popen[bytes]:
    """Call the command of a study, as its user would."""
    command = [sys.executable, "-m", "sftlens", "study", *targets, "--configfile", "study.yaml", "--cores", "2"]
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


def play(number: int, seed: int, reference: Path, variant: int, options: argparse.Namespace) -> Round:
    """Play one round; the folder of one that failed is kept."""
    one, draw = Round(number, variant), random.Random(f"{seed} {number}")
    with space(options.keep / f"round{number}") as place:
        folder = copy_run(reference, place / "repository")
        one.done.append(begin(folder, draw))
        # Only where the figures are still there: of a study that begins from less all is asked, as all is compared.
        targets = [TABLE] if draw.random() < 0.5 and one.done[0] == SOME else []
        try:
            disturbed(
                folder,
                one,
                draw,
                draw.randint(1, options.faults),
                options.seconds,
                start=lambda: start(folder, *targets),
                disturb=lambda driver: disturb(folder, driver, draw, options.pause),
            )
            one.fault = compare(contents(reference), contents(folder)) or "; ".join(leavings(folder)[:3])
        except (OSError, subprocess.TimeoutExpired) as error:
            one.fault = str(error)
        if one.fault:
            shutil.copytree(folder, options.keep / f"failed{number}", symlinks=True, dirs_exist_ok=True)
    return one


def begin(folder: Path, draw: random.Random) -> str:
    """Take away what is left to do of the finished study in a folder; return what is still there."""
    (folder / TABLE).unlink()
    if (chance := draw.random()) < 0.06:
        shutil.rmtree(folder / "results")
        shutil.rmtree(folder / ".snakemake")
        return "from nothing"
    if chance < 0.2:
        shutil.rmtree(folder / "results/mini")
        return "from the base model"
    shutil.rmtree(folder / "results/mini/.state")
    for cell in sorted(folder.glob("results/mini/*/*/n*/seed*/*")):
        # What others are made from goes only with them: whose table of results is there asks for no checkpoint.
        whole = draw.random() < 0.5
        for made in sorted(cell.iterdir()):
            if whole or (made.name in ("evaluate", "divergence", "restore") and draw.random() < 0.5):
                shutil.rmtree(made) if made.is_dir() else made.unlink()
    return SOME


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
    with MAKING[variant]:
        if not (folder / "finished").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            copy_repository(folder)
            configure(folder, {**deepcopy(CONFIG), **VARIANTS[variant]})
            if start(folder).wait(LONGEST):
                raise OSError(f"the undisturbed study failed: see {folder}/run.log")
            (folder / "finished").touch()
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--at-once", type=int, default=1, help="rounds at the same time: one with a stop mostly waits")
    parser.add_argument("--first", type=int, default=0, help="number of the first round")
    parser.add_argument("--seed", type=int, default=0, help="of the rounds: the same seed draws the same faults")
    parser.add_argument("--faults", type=int, default=5, help="most faults in a round")
    parser.add_argument("--pause", type=float, default=130.0, help="seconds that a process is stopped for")
    parser.add_argument("--seconds", type=float, default=25.0, help="most seconds between two faults")
    parser.add_argument("--keep", type=Path, help="folder of references and of rounds that failed")
    options = parser.parse_args()
    options.keep = options.keep or Path(tempfile.mkdtemp(prefix="chaos-"))
    rounds, kinds = [], Counter[str]()
    numbers = range(options.first, options.first + options.rounds)
    variants = {n: 0 if n % WHOLE == WHOLE - 1 else 1 + n % (len(VARIANTS) - 1) for n in numbers}

    def whole_round(number: int, variant: int) -> Round:
        return play(number, options.seed, undisturbed(options.keep, variant), variant, options)

    with ThreadPoolExecutor(options.at_once) as pool:
        played = [pool.submit(whole_round, number, variant) for number, variant in variants.items()]
        for future in as_completed(played):
            one = future.result()
            rounds.append(one)
            kinds.update(done.partition(",")[0] for done in one.done[1:])
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
