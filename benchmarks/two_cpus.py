"""A job with two CPUs against the same job with one: wall time, in turns, start and end of the job included.

  python benchmarks/two_cpus.py --smollm2 [--facts 240] [--examples 128] [--rounds 1]
  python benchmarks/two_cpus.py --model DIR --facts-table facts.parquet --templates T.yaml

Two CPUs are two processes of `mastery`, which share the facts; of `finetune` they are two numeric threads of one
process, or two processes, which share each batch and exchange gradients. Nothing else may run meanwhile.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _common as common

from sftlens import files
from sftlens.config.stages.data import FactsSettings
from sftlens.data.facts import load as load_facts

REPOSITORY = Path(__file__).resolve().parent.parent
TEMPLATES = REPOSITORY / "config/relations.yaml"
MADE = {"mastery.py": "mastery.parquet", "finetune.py": "checkpoint"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smollm2", action="store_true", help="SmolLM2-135M-Instruct on EntityQuestions")
    parser.add_argument("--model", type=Path, help="with --facts-table and --templates: another model")
    parser.add_argument("--facts-table", type=Path)
    parser.add_argument("--templates", type=Path, default=TEMPLATES)
    parser.add_argument("--facts", type=int, default=240, help="test facts that are probed")
    parser.add_argument("--examples", type=int, default=128, help="facts that are trained on, in batches of 8")
    parser.add_argument("--compute-dtype", default="bfloat16")
    parser.add_argument("--rounds", type=int, default=1, help="how often each is measured, in turns")
    args = parser.parse_args()
    if args.smollm2:
        args.model, table = common.smollm2(), load_facts(FactsSettings(source="entity_questions"))
    elif args.model and args.facts_table:
        table = files.read_parquet(args.facts_table, common.COLUMNS)
    else:
        parser.error("give --smollm2, or --model and --facts-table")
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        for split, count in (("test", args.facts), ("train", args.examples)):
            rows = table[table["split"] == split].sample(frac=1, random_state=0).head(count)
            files.write_parquet(place / f"{split}.parquet", rows.reset_index(drop=True))
        compute = ["--compute-dtype", args.compute_dtype, "--bos", "none"]
        mastery = ["mastery.py", "--facts", place / "test.parquet", "--templates", args.templates]
        mastery += ["--max-templates", 3, "--max-new-tokens", 16]
        compare(
            f"mastery, {args.facts} facts",
            [*mastery, "--model", args.model, *compute],
            "--processes",
            place,
            args.rounds,
        )
        finetune = ["finetune.py", "--train", place / "train.parquet", "--model", args.model, *compute]
        for option in ("--cpus", "--processes"):
            compare(f"finetune, {args.examples} facts, {option} 2", finetune, option, place, args.rounds)


def compare(name: str, command: list[object], option: str, place: Path, rounds: int) -> None:
    """Print the ratio of the medians of a job's wall times, with 1 and 2 as the value of an option, and the times."""
    taken: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for number, seconds in taken.items():
            seconds.append(wall([*command, option, number], place / "out"))
    one, two = (statistics.median(seconds) for seconds in taken.values())
    print(f"{name}: two CPUs take {two / one:.2f} of the wall time of one ({two:.0f} against {one:.0f} s)", flush=True)


def wall(command: list[object], out: Path) -> float:
    """Run a program to its end; return its wall seconds."""
    script, *rest = map(str, command)
    out.mkdir()
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, str(REPOSITORY / "scripts" / script), *rest, "--out", str(out / MADE[script])],
        check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    taken = time.perf_counter() - start
    shutil.rmtree(out)
    return taken


if __name__ == "__main__":
    common.run(main)
