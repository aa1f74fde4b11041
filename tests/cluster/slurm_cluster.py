"""A real Slurm of three machines on this one, and the driver of a study on it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
PROGRAMS = ("slurmctld", "slurmd", "munged", "srun", "unshare")
NODES, CPUS, MEMORY_MB, GPUS = 3, 8, 16000, 2
SECONDS = 900


def missing() -> str:
    """Why no cluster can be started here; empty when one can."""
    absent = [name for name in PROGRAMS if not shutil.which(name)]
    if absent:
        return f"{', '.join(absent)} not installed (Debian: slurmctld slurmd slurm-client munge)"
    return "" if os.getuid() == 0 else "a cluster with machines of its own needs root"


@dataclass
class Cluster:
    """The cluster in a folder."""

    folder: Path

    def start(self) -> None:
        self._script("start.sh", str(self.folder), NODES, CPUS, MEMORY_MB, GPUS)
        os.environ["SLURM_CONF"] = str(self.folder / "etc/slurm.conf")

    def stop(self) -> None:
        os.environ.pop("SLURM_CONF", None)
        self._script("stop.sh", str(self.folder))

    def node(self, what: str, name: str) -> None:
        """Switch a node `up` or `off`."""
        self._script("node.sh", what, str(self.folder), name)

    def controller(self, what: str) -> None:
        """Switch the controller `up` or `off`; it goes on with the jobs that it knew."""
        place = self.folder / "pid/slurmctld"
        if what == "off":
            os.kill(int(place.read_text()), signal.SIGKILL)
            return
        with (self.folder / "log/slurmctld.out.log").open("ab") as log:
            again = subprocess.Popen(["slurmctld", "-D"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                     start_new_session=True)  # fmt: skip
        place.write_text(f"{again.pid}\n")

    def idle(self) -> bool:
        """Whether all nodes are up and none has work."""
        return len(set(self.ask("sinfo", "-h", "-N", "-t", "idle", "-o", "%n").split())) == NODES

    def jobs(self) -> dict[str, str]:
        """Nodes of each running job by its number."""
        lines = self.ask("squeue", "-h", "-t", "running", "-o", "%i %N").splitlines()
        return dict(line.split() for line in lines if len(line.split()) == 2)

    def node_names(self, nodes: str) -> list[str]:
        return self.ask("scontrol", "show", "hostnames", nodes).split()

    def ask(self, *command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout

    def _script(self, name: str, *arguments: object) -> None:
        command = ["timeout", "--foreground", "-k", "10", "200", "bash", str(HERE / name), *map(str, arguments)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


@dataclass
class Driver:
    """`snakemake --profile slurm` in a folder, with only its polling changed."""

    folder: Path
    faults: Path = field(init=False)

    def __post_init__(self) -> None:
        self.faults = self.folder / "faults"
        self.faults.mkdir(exist_ok=True)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start it in the background."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(HERE / "inject"),
            "SFTLENS_TEST_FAULTS": str(self.faults),
        }
        command = [sys.executable, "-m", "snakemake", *arguments, "--profile", "slurm", "--configfile", "study.yaml"]
        # The plugin's first look at a job; the second comes fifteen seconds later, when most of these jobs have ended.
        command += ["--slurm-init-seconds-before-status-checks", "5"]
        limited = ["timeout", "--foreground", "-k", "10", str(SECONDS), *command]
        output = (self.folder / "driver.log").open("w")
        return subprocess.Popen(limited, cwd=self.folder, env=environment, text=True, stdout=output, stderr=output)

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run it to its end; return its status and what it said."""
        status = self.start(*arguments).wait()
        return status, self.said()

    def said(self) -> str:
        return (self.folder / "driver.log").read_text()

    def kill(self, process: subprocess.Popen[str]) -> None:
        """Kill it with -9: the process that `timeout` started."""
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        process.wait()


def until(condition: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    """Wait for a condition; fail with a word on what did not happen."""
    end = time.time() + seconds
    while not condition():
        assert time.time() < end, f"{what}: not within {seconds} s"
        time.sleep(0.2)
