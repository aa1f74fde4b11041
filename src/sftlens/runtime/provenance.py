"""What a stage's summary says about itself: settings, inputs, version, metrics, and the circumstances of the run."""

import os
import platform
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from typing import Any

from sftlens.runtime.result_version import RESULT_VERSION

SCHEMA_VERSION = 2
PACKAGES = ("sftlens", "torch", "transformers", "deepspeed", "peft", "safetensors", "numpy", "pandas", "pyarrow")
COMPUTED = "computed_in"
"""The type that the models of a run computed in."""
NOTED: dict[str, str] = {}
"""What a program found out about its own run; with the circumstances."""
_STARTED = time.time()


def summary(
    stage: str,
    *,
    settings: Mapping[str, Any],
    inputs: Mapping[str, str],
    metrics: Sequence[Mapping[str, Any]],
    **details: Any,
) -> dict[str, Any]:
    """Return a stage's summary as a JSON value.

    Everything that may differ between two runs of the same computation stands in the block `run`, which never
    enters results.parquet: wall time (s), CPU time (s, of the processes it started too), peak memory (bytes), versions
    and hardware.
    """
    return {
        "schema": SCHEMA_VERSION,
        "stage": stage,
        "result_version": RESULT_VERSION[stage],
        "settings": dict(settings),
        "inputs": dict(inputs),
        **details,
        "metrics": [dict(row) for row in metrics],
        "run": circumstances(),
    }


def circumstances() -> dict[str, Any]:
    """Return wall and CPU time since the process started, its end (UTC), peak memory, versions, hardware."""
    packages = {}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            packages[name] = metadata.version(name)
    processor = platform.processor()
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        processor = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), processor)
    torch = sys.modules.get("torch")  # a job that computes without torch need not load it for this
    devices = range(torch.cuda.device_count()) if torch and torch.cuda.is_available() else ()
    return {
        "wall_seconds": round(time.time() - _STARTED, 3),
        "cpu_seconds": round(sum(os.times()[:4]), 3),
        "finished": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()),
        "peak_memory_bytes": peak_memory(),
        **NOTED,
        "python": platform.python_version(),
        "packages": packages,
        "machine": {
            "processor": processor,
            "cores": os.cpu_count(),
            "devices": [torch.cuda.get_device_name(i) for i in devices] if torch else [],
        },
    }


def peak_memory() -> int:
    """Return the largest resident memory of this process, bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
