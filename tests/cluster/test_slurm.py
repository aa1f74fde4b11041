"""The study on a real Slurm of three nodes, through the shipped profile; and what happens when things go wrong.

After each fault the call that met it, or a second `snakemake --profile slurm` that does only what is missing, ends
with the same results.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cluster_study import CELL, MODELS, TABLE
from slurm_cluster import Cluster, Driver, until

Untrained = Callable[..., Driver]
SUMMARY = f"{CELL}/finetune.json"


def weights(folder: Path, model: str) -> bytes:
    return (folder / CELL.format(model) / "checkpoint/model.safetensors").read_bytes()


def trained_as_without_fault(driver: Driver, finished: Driver) -> None:
    """The weights have their bytes: what follows a training is computed from them alone, as other tests see."""
    assert all(weights(driver.folder, model) == weights(finished.folder, model) for model in MODELS)


def is_as_without_fault(driver: Driver, finished: Driver) -> None:
    assert (driver.folder / TABLE).read_bytes() == (finished.folder / TABLE).read_bytes()
    trained_as_without_fault(driver, finished)


def counts(said: str) -> dict[str, int]:
    """Jobs of each rule that a driver planned."""
    table = said.split("Job stats:")[1].split("\n\n")[0]
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE) if rule != "total"}


def finishes_with(driver: Driver, finished: Driver, **jobs: int) -> None:
    """A second call does so many jobs of each rule, and then all is as it would be without the fault."""
    status, said = driver.run(TABLE)
    assert status == 0, said
    assert counts(said) == {**jobs, "results": 1}, said
    is_as_without_fault(driver, finished)


def trains_again(driver: Driver, finished: Driver, model: str) -> None:
    """A second call trains the model, and does nothing else."""
    status, said = driver.run(SUMMARY.format(model))
    assert status == 0, said
    assert counts(said) == {"finetune": 1}, said
    trained_as_without_fault(driver, finished)


def in_training(cluster: Cluster, driver: Driver, target: str, *arguments: str) -> tuple[subprocess.Popen[str], str]:
    """Start what a target needs, wait until all processes of its training are in the middle; return driver and job."""
    (driver.faults / "hold").touch()
    process = driver.start(target, *arguments)
    until(lambda: len(list(driver.faults.glob("reached-*"))) == 2 or process.poll() is not None, "second step")
    assert process.poll() is None, driver.said()
    (job,) = cluster.jobs()
    return process, job


def process_of_rank(rank: int, driver: Driver) -> int:
    """Return the id of a process of the training."""
    marks = {f"RANK={rank}".encode(), f"SFTLENS_TEST_FAULTS={driver.faults}".encode()}
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if marks <= set(environment.read_bytes().split(b"\0")):
                return int(environment.parent.name)
    raise AssertionError(f"no process of rank {rank}")


def go_on(driver: Driver) -> None:
    (driver.faults / "hold").unlink()


def test_the_whole_study_runs_through_the_shipped_profile(finished: Driver):
    said = finished.said()
    assert counts(said)["finetune"] == 2 and "Traceback" not in said
    for model in MODELS:
        log = finished.folder / f"results/mini/logs/{model}/mixed/n16/seed0/full/finetune.log"
        assert "Traceback" not in log.read_text() and "error:" not in log.read_text()
    status, said = finished.run("--dry-run")
    assert status == 0 and "Nothing to be done" in said


def test_the_same_bytes_as_training_on_this_machine(finished: Driver, tmp_path: Path):
    for model in MODELS:
        order = finished.folder / f"results/mini/{model}/mixed/order-seed0.parquet"
        base = next((finished.folder / f"results/models/{model}").glob("base-*/base.json"))
        options = ["--learning-rate", "1e-3", "--dtype", "float32", "--zero-stage", "3", "--processes", "2"]
        script = [sys.executable, str(finished.folder / "scripts/finetune.py")]
        paths = ["--model", base, "--train", order, "--scale", "16", "--out", tmp_path / model]
        subprocess.run([*script, *options, *map(str, paths)], check=True, timeout=600, cwd=finished.folder)
        assert (tmp_path / model / "model.safetensors").read_bytes() == weights(finished.folder, model)


def test_a_cancelled_job(cluster: Cluster, finished: Driver, untrained: Untrained):
    driver = untrained("one")
    process, job = in_training(cluster, driver, TABLE)
    cluster.ask("scancel", job)
    until(lambda: job not in cluster.jobs(), "cancelled job gone")
    go_on(driver)
    assert process.wait() == 0, driver.said()  # tried again by itself
    is_as_without_fault(driver, finished)


def test_a_lost_process_ends_those_on_the_other_node(cluster: Cluster, finished: Driver, untrained: Untrained):
    driver = untrained("two")
    process, _ = in_training(cluster, driver, SUMMARY.format("two"), "--retries", "0")
    os.kill(process_of_rank(1, driver), signal.SIGKILL)
    assert process.wait() != 0  # although the other one still waits for its second step
    assert "process 1 of the training ended with status -9" in driver.said()
    go_on(driver)
    trains_again(driver, finished, "two")


def test_a_job_that_needs_more_memory(finished: Driver, untrained: Untrained):
    driver = untrained("one")
    few = ["--retries", "0", "--set-resources", "finetune:mem_mb=150"]
    status, said = driver.run(SUMMARY.format("one"), *few)
    assert status != 0 and "finetune" in said
    trains_again(driver, finished, "one")


def test_a_job_whose_time_is_over_goes_on(finished: Driver, untrained: Untrained):
    """Of two steps the first try makes one, saves its state and stops; the second try makes the other."""
    driver = untrained("two")
    status, said = driver.run(SUMMARY.format("two"), "--set-resources", "finetune:runtime=1")
    assert status == 0, said
    assert len(re.findall(r"Error in rule finetune", said)) == 1, said
    trained_as_without_fault(driver, finished)


def test_a_node_lost_in_the_middle_of_training_on_two(cluster: Cluster, finished: Driver, untrained: Untrained):
    driver = untrained("two")
    process, job = in_training(cluster, driver, SUMMARY.format("two"))
    lost = cluster.node_names(cluster.jobs()[job])[1]
    cluster.node("off", lost)
    go_on(driver)
    try:
        assert process.wait() == 0, driver.said()
    finally:
        cluster.node("up", lost)
    trained_as_without_fault(driver, finished)


def test_a_driver_killed_and_started_again_while_its_job_runs(cluster: Cluster, finished: Driver, untrained: Untrained):
    driver = untrained("two")
    process, job = in_training(cluster, driver, TABLE)
    driver.kill(process)
    assert driver.run("--unlock")[0] == 0
    again = driver.start(TABLE)
    until(lambda: len(cluster.jobs()) > 1 or again.poll() is not None, "twin of the job")
    assert job in cluster.jobs(), driver.said()
    go_on(driver)
    assert again.wait() == 0, driver.said()
    is_as_without_fault(driver, finished)


def test_a_cell_that_always_fails(finished: Driver, untrained: Untrained):
    driver = untrained("one")
    neighbour = driver.folder / CELL.format("two") / "evaluate"
    shutil.rmtree(neighbour)
    model = "one"
    (driver.faults / "fail").write_text(f"results/mini/{model}/mixed/order")
    status, said = driver.run("--retries", "0", TABLE)
    assert status != 0
    log = f"results/mini/logs/{model}/mixed/n16/seed0/full/finetune.log"
    assert f"unfinished: {model}/mixed/n16/seed0/full finetune: error: injected by a test (log: {log})" in said, said
    assert not (driver.folder / SUMMARY.format(model)).exists()
    assert (neighbour / "summary.json").is_file()
    (driver.faults / "fail").unlink()
    finishes_with(driver, finished, finetune=1, evaluate=1)
