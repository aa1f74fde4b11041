"""Give every program inputs that are not quite right, and see that it works or says in one line what is wrong.

  python tests/fuzz/run.py --minutes 60                 by the hour, from a seed of its own
  python tests/fuzz/run.py --seed 0 --cases 40          the short form that CI runs
  python tests/fuzz/run.py --seed 0 --case 17 --keep    one case again; its folder stays

A case takes the valid inputs of one program, changes a file or an option of it (mutations.py), and runs the program in
a process forked from this one. It fails where the program ends with a traceback, with a status that is none of its own,
without exactly one line `error: ...`, or not within --limit seconds; where it changes an input, writes outside its
output, or leaves half-written files. The folder of a failed case is kept below --out, with `command.txt`.
"""

# ruff: noqa: E402 - what libraries read from the environment while they are imported comes first

import argparse
import hashlib
import importlib
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NoReturn

for variable, value in {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}.items():
    os.environ[variable] = value

import mutations
import programs
import torch

from sftlens import cli
from sftlens.commands import program

MODULES = ("peft", "matplotlib.pyplot", "pyarrow.parquet", "pyarrow.compute", "scipy.stats", "snakemake",
           "transformers.models.llama.modeling_llama", "sftlens.training.loop", "sftlens.diagnosis.screen",
           "sftlens.repair.search", "sftlens.repair.output", "sftlens.reporting.report")  # fmt: skip
"""Imported once, here, not in every case."""
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
"""Flags of open(2) of which one at least says that a file may be changed."""
EVENTS = {"os.mkdir": 1, "os.remove": 1, "os.rmdir": 1, "os.rename": 2, "os.link": 2, "os.truncate": 1}
"""Events of Python's audit that change the tree, and how many of their arguments are paths."""
LEAVINGS = re.compile(r"\..*\.(partial|work)-.*|\..*\.old")
EXTRA_BYTES = 4 << 30
"""Address space that a case may take."""
IGNORED = ("/dev/", "/proc/", "/memfd:", "/sys/")


class Case:
    """One call of a program with changed inputs, in a folder of its own.

    Equal seeds and numbers give equal cases, until a call is added. The first ones, one a call, have valid inputs.
    """

    def __init__(self, inputs: Path, folder: Path, seed: int, number: int) -> None:
        draw = Random(f"{seed} {number}")
        self.call = sorted(programs.CALLS)[number % len(programs.CALLS)]
        self.folder, self.number, self.status = folder, number, -1
        # Deep enough that `../..` leads to a place that is watched.
        self.cwd = folder / "a" / "b" / "cwd"
        self.cwd.mkdir(parents=True)
        words = programs.CALLS[self.call]
        used = [word[2:].split("/")[0] for word in words if word.startswith("@/")]
        used += programs.INPUTS.get(self.call, ())
        used += ["results"] if programs.program_of(self.call) in programs.IN_RESULTS else []
        for name in {*used, *(["base"] if {"delta", "adapter"} & {*used} else [])}:
            source = inputs / name
            if source.is_dir():
                shutil.copytree(source, self.cwd / name, symlinks=True)
            else:
                shutil.copyfile(source, self.cwd / name)
        self.words = [word.replace("@/", "") for word in words]
        self.changed = "nothing"
        if number >= len(programs.CALLS):
            changes = []
            for _ in range(draw.choice((1, 1, 1, 2))):
                if draw.random() < 0.15 and programs.program_of(self.call) not in programs.FIXED:
                    self.words = mutations.option(self.words, draw)
                    changes.append("options")
                else:
                    chosen = draw.choice(used)
                    if (self.cwd / chosen).exists():
                        changes.append(f"{chosen}/{mutations.mutate(self.cwd / chosen, draw)}")
            self.changed = ", ".join(changes)

    def run(self, limit: float) -> list[str]:
        """Run the program; return what is wrong with the way it ended, nothing where all is right."""
        before = tree(self.folder, self.cwd / "out")
        said, outside = self.folder / "said", self.folder / "outside"
        pid = os.fork()
        if pid == 0:
            try:
                self._child(said, outside)
            finally:
                os._exit(99)
        end = time.monotonic() + limit
        faults = []
        while (done := os.waitpid(pid, os.WNOHANG))[0] == 0:
            if time.monotonic() > end:
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                faults.append(f"has not ended after {limit:g} s")
                break
            time.sleep(0.005)
        else:
            self.status = status = os.waitstatus_to_exitcode(done[1])
            faults += self._ended(status, said.read_text(errors="replace"))
        after = tree(self.folder, self.cwd / "out")
        # Where an option names another output, that is meant; what was there before stays as it is nevertheless.
        watched = before if "options" in self.changed else {*before, *after}
        changed = (name for name in sorted(watched) if before.get(name) != after.get(name))
        faults += [f"changed or made {os.path.relpath(name, self.folder)}" for name in changed]
        faults += [f"wrote to {line}" for line in sorted({*outside.read_text().split("\n")} - {""})]
        left = [path for path in self.folder.rglob("*") if LEAVINGS.fullmatch(path.name)]
        return faults + [f"left {path.relative_to(self.folder)}" for path in left if not faults]

    def _ended(self, status: int, said: str) -> list[str]:
        errors = [line for line in said.split("\n") if line.startswith("error: ")]
        if "Traceback (most" in said or "Fatal Python" in said:
            return ["ended with a traceback: " + said.strip().split("\n")[-1][:300]]
        if status not in (0, 1):
            return [f"ended with status {status}"]
        if (status == 1) != (len(errors) == 1):
            return [f"ended with status {status} and {len(errors)} lines of error"]
        if errors and (len(errors[0]) > 3000 or not said.rstrip("\n").split("\n")[-1].startswith("error: ")):
            return ["does not end with one short line of error"]
        if self.changed == "nothing" and status:
            return [f"does not work with valid inputs: {errors[0]}"]
        return []

    def _child(self, said: Path, outside: Path) -> NoReturn:
        os.setsid()
        handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        for name in ("tmp", "home"):
            (self.folder / name).mkdir()
        os.environ.update(TMPDIR=str(self.folder / "tmp"), HOME=str(self.folder / "home"), NO_COLOR="1")
        os.environ.update(XDG_CACHE_HOME=str(self.folder / "home/cache"), MPLCONFIGDIR=str(self.folder / "home/mpl"))
        tempfile.tempdir = None
        sys.dont_write_bytecode = True
        with open("/proc/self/statm") as file:
            taken = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + EXTRA_BYTES,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.chdir(self.cwd)
        name = programs.program_of(self.call)
        group = next(group for group, names in cli.PROGRAMS.items() if name in names)
        sys.argv = [f"sftlens {name}", *self.words]
        report = os.open(outside, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        sys.addaudithook(watch(self.folder, report))
        code: object = 0
        try:
            program.run(importlib.import_module(f"sftlens.commands.{group}.{name}").main)
        except SystemExit as end:
            code = end.code or 0
            if not isinstance(code, int):
                print(code, file=sys.stderr)
                code = 1
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)

    def command(self, seed: int) -> str:
        """Return a text that says how to repeat the case."""
        shown = " ".join("'" + word.replace("'", "'\\''") + "'" for word in self.words)
        again = f"python tests/fuzz/run.py --seed {seed} --case {self.number} --keep"
        return f"{again}\n# changed: {self.changed}\ncd a/b/cwd && sftlens {programs.program_of(self.call)} {shown}\n"


def watch(allowed: Path, report: int) -> Callable[[str, tuple], None]:
    """Return an audit hook that reports every path outside `allowed` that is written, made, moved or removed."""
    real = os.path.realpath(allowed) + "/"

    def hook(event: str, arguments: tuple) -> None:
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES:
            paths = arguments[:1]
        elif event in EVENTS:
            paths = arguments[: EVENTS[event]]
        else:
            return
        for path in paths:
            if isinstance(path, (str, bytes, os.PathLike)):
                # The name itself is what is made or removed; only a link above it leads elsewhere.
                name = os.path.abspath(os.fsdecode(path))
                place = os.path.join(os.path.realpath(os.path.dirname(name)), os.path.basename(name))
                if not (place + "/").startswith(real) and not place.startswith(IGNORED):
                    os.write(report, f"{event} {place}\n".encode(errors="replace"))

    return hook


def tree(folder: Path, out: Path) -> dict[str, str]:
    """Return each path below a folder, where a program must not write, with what stands for its content."""
    found = {}
    for place, folders, names in os.walk(folder):
        if Path(place) == folder:
            folders[:] = [name for name in folders if name not in ("tmp", "home")]
            names = [name for name in names if name not in ("said", "outside")]
        if Path(place) == out.parent:
            # What a study's programs make lies beside their inputs.
            folders[:] = [name for name in folders if name not in ("out", "results", ".snakemake")]
        for name in (*folders, *names):
            path = os.path.join(place, name)
            if os.path.islink(path):
                found[path] = os.readlink(path)
            else:
                found[path] = hashlib.sha256(Path(path).read_bytes()).hexdigest() if os.path.isfile(path) else "folder"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1, help="how long to go on (default: 1)")
    parser.add_argument("--cases", type=int, help="how many cases instead")
    parser.add_argument("--seed", type=int, help="default: from the clock")
    parser.add_argument("--case", type=int, help="only the case with this number")
    parser.add_argument("--only", help="only calls whose name begins like this")
    parser.add_argument("--limit", type=float, default=60, help="seconds after which a program hangs (default: 60)")
    parser.add_argument("--keep", action="store_true", help="keep the folders of cases that went well, too")
    parser.add_argument("--out", type=Path, default=Path("fuzzed"), help="folder of the failed cases (default: fuzzed)")
    args = parser.parse_args()
    seed = int(time.time()) if args.seed is None else args.seed
    for groups in cli.PROGRAMS.items():
        for name in groups[1]:
            importlib.import_module(f"sftlens.commands.{groups[0]}.{name}")
    for name in MODULES:
        importlib.import_module(name)
    torch.set_num_threads(1)

    with tempfile.TemporaryDirectory(prefix="sftlens-fuzz-") as scratch:
        inputs = Path(scratch, "inputs")
        # In a process of its own: threads that libraries start while they work would not be there after a fork.
        if (pid := os.fork()) == 0:
            try:
                sys.stdout = sys.stderr = open(Path(scratch, "made"), "w")  # noqa: SIM115
                programs.make(inputs)
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
            os._exit(0)
        if os.waitpid(pid, 0)[1]:
            sys.exit("error: the inputs cannot be made:\n" + Path(scratch, "made").read_text())
        began, number, failed, refused, done = time.monotonic(), args.case or 0, 0, 0, 0
        last = number + 1 if args.case is not None else args.cases
        while number < last if last is not None else time.monotonic() < began + 60 * args.minutes:
            if args.only and not sorted(programs.CALLS)[number % len(programs.CALLS)].startswith(args.only):
                number += 1
                continue
            case = Case(inputs, Path(scratch, f"case-{seed}-{number}"), seed, number)
            faults = case.run(args.limit)
            done += 1
            refused += case.status == 1 and not faults
            if faults:
                failed += 1
                print(f"case {number}: {case.call}, changed {case.changed}", *faults, sep="\n  ", flush=True)
            if faults or args.keep:
                (case.folder / "command.txt").write_text(case.command(seed), errors="replace")
                shutil.rmtree(args.out / case.folder.name, ignore_errors=True)
                shutil.copytree(case.folder, args.out / case.folder.name, symlinks=True)
            shutil.rmtree(case.folder)
            number += 1
        minutes = (time.monotonic() - began) / 60
        worked = done - refused - failed
        print(
            f"seed {seed}: {done} cases in {minutes:.1f} minutes: {worked} worked, {refused} refused, {failed} failed"
        )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
