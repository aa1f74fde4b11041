"""Where each number of a study comes from: its summaries with their files, versions, hashes, and what they took."""

import calendar
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from sftlens.config.study import Study
from sftlens.dag.cells import Cell, Product
from sftlens.dag.paths import Paths
from sftlens.files import read_json
from sftlens.results.collect import Metric
from sftlens.results.unfinished import made


@with_config(ConfigDict(extra="allow"))
class Machine(TypedDict, total=False):
    """What a job ran on."""

    processor: str
    cores: int | None
    devices: list[str]


@with_config(ConfigDict(extra="allow"))
class Run(TypedDict, total=False):
    """What a summary says of its own run."""

    finished: str
    wall_seconds: float
    peak_memory_bytes: float
    packages: dict[str, str]
    machine: Machine


@with_config(ConfigDict(extra="allow"))
class Summary(TypedDict, total=False):
    """What is read of a summary here and in exports; older ones lack some of it."""

    result_version: int
    settings: dict[str, Any]
    inputs: dict[str, str]
    metrics: list[Metric]
    run: Run


SHORT = 12
"""Characters of a hash that a reader sees; the file has all."""


def runs(study: Study, products: Iterable[Product]) -> pd.DataFrame:
    """Return one row for each of some products that has a summary, in their order.

    Columns: the product's axes; `file`; `version` (RESULT_VERSION); `inputs` (what -> hash, shortened, as text);
    `packages` (as text); `finished` (UTC; "" where unknown); `seconds` (wall time), `gigabytes` (peak memory), `gpus`
    (number) and `machine`.
    """
    paths = Paths(study)
    rows = []
    for product in products:
        if made(paths, product):
            path = Path(paths.summary(product))
            summary: Summary = read_json(path, Summary)
            run = summary.get("run", {})
            machine = run.get("machine", {})
            rows.append({
                **product.axes, "file": str(path), "version": summary.get("result_version"),
                "inputs": ", ".join(f"{name} {text[:SHORT]}" for name, text in summary.get("inputs", {}).items()),
                "packages": ", ".join(f"{name} {version}" for name, version in run.get("packages", {}).items()),
                "finished": run.get("finished", ""), "seconds": run.get("wall_seconds"),
                "gigabytes": run.get("peak_memory_bytes", float("nan")) / 1e9,
                "gpus": len(machine.get("devices", [])), "machine": _machine(machine),
            })  # fmt: skip
    names = [*Product("mastery", Cell("", "", "", 0, "")).axes, "file", "version", "inputs", "packages", "finished"]
    return pd.DataFrame(rows, columns=[*names, "seconds", "gigabytes", "gpus", "machine"])


def finished(path: Path, summary: Summary) -> float:
    """Return when a summary was made, seconds since the epoch; of one that does not say it, when its file was."""
    with suppress(ValueError):
        return float(calendar.timegm(time.strptime(summary.get("run", {}).get("finished", ""), "%Y-%m-%d %H:%M:%S")))
    return path.stat().st_mtime


def models(study: Study) -> list[dict[str, str]]:
    """Return each base model that is there: `model`, `source` (hub id and revision, or where it is from), `hashes`."""
    found = []
    for name, entry in study.models.items():
        path = Path(Paths(study).base(name))
        if path.is_file():
            pointer = read_json(path, dict[str, Any])
            source = f"{pointer['id']} at {pointer['revision']}" if pointer.get("id") else str(pointer["path"])
            source = "pretrained here on the embedded world" if entry.source == "pretrain" else source
            hashes = ", ".join(f"{file} {about['sha256'][:SHORT]}" for file, about in pointer["files"].items())
            found.append({"model": name, "source": source, "hashes": hashes})
    return found


def _machine(machine: Machine) -> str:
    devices = machine.get("devices", [])
    cores = f"{machine.get('cores')} cores of {machine.get('processor')}" if machine else ""
    return f"{len(devices)} x {devices[0]}" if devices else cores
