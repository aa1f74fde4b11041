"""What starting a job costs in CPU seconds, as the programs do it and as Python does, in processes of their own.

  python benchmarks/start_up.py [--repeats N]

Each process imports what one kind of job imports and ends; the two ways take turns. The programs look for garbage late
and do not take everything apart when they end (sftlens.commands.program); `end` is the time after the last line.
"""

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "src"
MODEL = "from transformers.models.llama import LlamaForCausalLM; import sftlens.models.checkpoints, pandas"
JOBS = {
    "changes": "import sftlens.models.safetensors_reader, pandas",
    "evaluate, divergence, restore": MODEL,
    "finetune": f"{MODEL}; import deepspeed",
}
PROGRAM = """
import os, sys, time
sys.path.insert(0, {source!r})
{first}
{imports}
print(time.process_time(), len(sys.modules), flush=True)
{last}
"""
WAYS = {"usual": ("", ""), "sftlens": ("import sftlens.commands.program", "os._exit(0)")}


def measure(imports: str, way: str) -> tuple[float, float, int]:
    """Return the CPU seconds of one process until its last line and after it, and its number of modules."""
    first, last = WAYS[way]
    program = PROGRAM.format(source=str(SOURCE), first=first, imports=imports, last=last)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    seconds, modules = process.stdout.read().split()[-2:]
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"error: the imports failed: {imports}")
    return float(seconds), usage.ru_utime + usage.ru_stime - float(seconds), int(modules)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="processes of each kind and way (default: 5)")
    repeats = parser.parse_args().repeats
    print(
        f"{'jobs':<32}{'imports':>9}{'CPU s':>8}{'end':>7}{'all':>7}{'modules':>9}{'ratio':>7}   medians of {repeats}"
    )
    for job, imports in JOBS.items():
        found: dict[str, list[tuple[float, float, int]]] = {way: [] for way in WAYS}
        for _ in range(repeats):
            for way, results in found.items():
                results.append(measure(imports, way))
        usual = statistics.median(start + end for start, end, _ in found["usual"])
        for way, results in found.items():
            start, end, modules = (statistics.median(column) for column in zip(*results, strict=True))
            whole = statistics.median(start + end for start, end, _ in results)
            print(f"{job:<32}{way:>9}{start:>8.2f}{end:>7.2f}{whole:>7.2f}{modules:>9.0f}{whole / usual:>7.2f}")


if __name__ == "__main__":
    main()
