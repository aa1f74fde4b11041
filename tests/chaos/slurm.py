"""Chaos on a real Slurm of three nodes: whatever a cluster does to a study, it ends as the undisturbed one.

    python tests/chaos/slurm.py --rounds 20           by hand; needs root and Slurm's packages, as tests/cluster does

A round takes a finished study whose trained models are gone, and drives it through the shipped profile, with variables
of another run's launcher in the environment. At random moments a node is lost, a job is cancelled, preempted or
requeued, a process of a job or the driver is killed, the controller is restarted, or `sbatch` and `squeue` fail now and
then, some of them after they did what they were asked. Two trainings share a node, others need two. In the end every
result must have the bytes of the undisturbed run, and nothing else may be left.
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
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "workflow"), str(HERE.parent / "cluster")]
import cluster_study  # noqa: E402
import slurm_cluster  # noqa: E402
from rounds import LONGEST, Round, compare, contents, disturbed, leavings, running  # noqa: E402
from slurm_cluster import Cluster  # noqa: E402
from study import CONFIG, configure, copy_repository, copy_run  # noqa: E402

TABLE = cluster_study.TABLE.format("mini")
STALE = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "7", "MASTER_ADDR": "10.255.255.1", "MASTER_PORT": "1"}
"""What a launcher of another run left in the environment."""
FAULTS = (
    "lost node",
    "cancelled job",
    "requeued job",
    "preempted jobs",
    "killed process",
    "killed driver",
    "restarted controller",
    "failing sbatch and squeue",
)
FLAKY = """#!/usr/bin/env bash
# {name}, as it is where the controller is busy: it fails now and then, half of the times when the work is done.
if [ -e {folder}/flaky ] && [ $((RANDOM % 4)) = 0 ]; then
  [ $((RANDOM % 2)) = 0 ] || {real} "$@" >/dev/null
  echo "{name}: error: Unable to contact slurm controller (connect failure)" >&2
  exit 1
fi
exec {real} "$@"
"""


def configuration() -> dict:
    """Return the mini study of the cluster's tests with two trainings that fit on one node together, and one on two."""
    config = cluster_study.config(CONFIG)
    config["models"]["one"]["launch"] = {"processes": 2}
    cells = {"train_sets": ["mixed"], "base": False}
    config["experiments"] = {
        "scaling": {**cells, "models": ["one"], "scales": [8, 16]},
        "concentration": {"train_sets": ["mixed"], "models": ["two"], "scales": [16]},
    }
    return config


def start(folder: Path, *targets: str) -> subprocess.Popen[bytes]:
    """Call the command of a study, as its user would on the login node."""
    command = [sys.executable, "-m", "sftlens", "study", *targets, "--profile", "slurm", "--configfile", "study.yaml"]
    command += ["--slurm-init-seconds-before-status-checks", "1"]
    environment = {
        **os.environ,
        **STALE,
        "PYTHONPATH": f"{folder / 'src'}:{HERE.parent / 'cluster/inject'}",
        "PATH": f"{folder / 'faults'}:{os.environ['PATH']}",
        "SFTLENS_TEST_FAULTS": str(folder / "faults"),
    }
    with (folder / "run.log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)


def disturb(cluster: Cluster, folder: Path, driver: subprocess.Popen[bytes], draw: random.Random) -> str:
    """Do one random thing to a cluster with a running study; return what it was."""
    what = draw.choice(FAULTS)
    # Some faults need a job, which may still be in the queue.
    over = time.monotonic() + 60
    while not cluster.jobs() and driver.poll() is None and time.monotonic() < over:
        time.sleep(1)
    with suppress(ProcessLookupError, subprocess.CalledProcessError):
        if what == "lost node":
            name = f"node{draw.randint(1, slurm_cluster.NODES)}"
            cluster.node("off", name)
            time.sleep(draw.choice((2, 30)))  # back before Slurm has noticed, or long after
            cluster.node("up", name)
        elif what in ("cancelled job", "requeued job"):
            if not (jobs := sorted(cluster.jobs())):
                return f"{what} (none ran)"
            cluster.ask(*(["scancel"] if what == "cancelled job" else ["scontrol", "requeue"]), draw.choice(jobs))
        elif what == "preempted jobs":
            urgent = cluster.ask(
                "sbatch", "--parsable", "--partition=urgent", "--exclusive", f"--nodes={draw.randint(1, 3)}",
                "--output=/dev/null", "--wrap=sleep 5",
            )  # fmt: skip
            time.sleep(8)
            cluster.ask("scancel", urgent.strip())
        elif what == "killed process":
            if not (processes := [pid for pid in running(folder) if pid != driver.pid]):
                return f"{what} (none ran)"
            os.kill(draw.choice(processes), signal.SIGKILL)
        elif what == "killed driver":
            os.kill(driver.pid, signal.SIGKILL)
        elif what == "restarted controller":
            cluster.controller("off")
            time.sleep(draw.uniform(1, 15))
            cluster.controller("up")
        else:
            (folder / "faults/flaky").touch()
            time.sleep(draw.uniform(10, 40))
            (folder / "faults/flaky").unlink()
    return what


def play(number: int, seed: int, cluster: Cluster, finished: Path, options: argparse.Namespace) -> Round:
    """Play one round; the folder of one that failed is kept."""
    one, draw = Round(number, 0), random.Random(f"{seed} {number}")
    folder = copy_run(finished, options.keep / f"slurm{number}")
    trained = sorted(folder.glob("results/mini/*/*/n*/seed*/*/finetune.json"))
    targets = [path.relative_to(folder).as_posix() for path in trained]
    # The trainings are what a cluster is for: two of three rounds are of them alone.
    if draw.random() < 1 / 3:
        targets = [TABLE]
        (folder / TABLE).unlink()
    for summary in trained:
        for made in summary.parent.iterdir() if targets == [TABLE] else [summary, summary.parent / "checkpoint"]:
            shutil.rmtree(made) if made.is_dir() else made.unlink()
    shutil.rmtree(folder / "results/mini/.state")
    (folder / "faults").mkdir(exist_ok=True)
    for name in ("sbatch", "squeue"):
        (folder / "faults" / name).write_text(
            FLAKY.format(name=name, real=shutil.which(name), folder=folder / "faults")
        )
        (folder / "faults" / name).chmod(0o755)
    try:
        disturbed(
            folder,
            one,
            draw,
            draw.randint(1, options.faults),
            options.seconds,
            start=lambda: start(folder, *targets),
            disturb=lambda driver: disturb(cluster, folder, driver, draw),
        )
        # What was submitted while the driver was told otherwise may start now.
        over = time.monotonic() + LONGEST
        while cluster.ask("squeue", "-h") or running(folder):
            if time.monotonic() > over:
                raise TimeoutError("jobs still run: " + cluster.ask("squeue", "-h"))
            time.sleep(1)
        one.fault = compare(contents(finished), contents(folder)) or "; ".join(leavings(folder)[:3])
    except (OSError, subprocess.SubprocessError) as error:
        one.fault = str(error)
    if one.fault:
        os.rename(folder, options.keep / f"failed-slurm{number}")
    else:
        shutil.rmtree(folder)
    return one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="of the rounds: the same seed draws the same faults")
    parser.add_argument("--faults", type=int, default=4, help="most faults in a round")
    parser.add_argument("--seconds", type=float, default=25.0, help="most seconds between two faults")
    parser.add_argument("--keep", type=Path, help="folder of the undisturbed study and of rounds that failed")
    options = parser.parse_args()
    if why := slurm_cluster.missing():
        sys.exit(f"error: no cluster can be started: {why}")
    options.keep = options.keep or Path(tempfile.mkdtemp(prefix="chaos-"))
    finished, rounds, kinds = options.keep / "slurm-reference", [], Counter[str]()
    with tempfile.TemporaryDirectory(prefix="slurm-") as place:
        cluster = Cluster(Path(place, "cluster"))
        cluster.start()
        try:
            if not (finished / TABLE).is_file():
                shutil.rmtree(finished, ignore_errors=True)
                copy_repository(finished)
                (finished / "faults").mkdir()
                configure(finished, configuration())
                if start(finished, TABLE).wait(2 * LONGEST):
                    sys.exit(f"the undisturbed study failed: see {finished}/run.log")
            for number in range(options.rounds):
                slurm_cluster.until(cluster.idle, "all nodes idle")
                one = play(number, options.seed, cluster, finished, options)
                rounds.append(one)
                kinds.update(one.done)
                print(f"round {number}: {one.fault or 'equal'}; calls {one.calls}; {', '.join(one.done)}", flush=True)
        finally:
            cluster.stop()
    equal = sum(not one.fault for one in rounds)
    print(f"{equal} of {len(rounds)} rounds ended as the undisturbed study")
    print("faults: " + ", ".join(f"{kind} {count}" for kind, count in kinds.most_common()))
    sys.exit(equal < len(rounds))


if __name__ == "__main__":
    main()
