"""Run the sections in turn, each with a time of its own; see run.sh."""

import argparse
import json
import platform
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path

import correctness
import decoding
import restoring
import torch
import transformers
from bench import Bench

import training

SECTIONS = {
    "correctness": (correctness.run, 90),
    "ceilings": (decoding.ceilings, 10),
    "decode": (decoding.decode, 45),
    "profile": (decoding.profile, 25),
    "probing": (decoding.probing, 100),
    "answers": (decoding.answers, 50),
    "restoring": (restoring.run, 70),
    "training": (training.run, 80),
    "compiled": (decoding.compiled, 60),
}
"""name -> (function, seconds); a section starts no measurement when its time is over."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="small geometry, on the CPU where there is no GPU")
    parser.add_argument(
        "--sections", nargs="+", choices=list(SECTIONS), help="run only these (unless given: all but compiled)"
    )
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="results as JSON, written as they come")
    args = parser.parse_args()
    if not args.tiny and not torch.cuda.is_available():
        print("no GPU here: nothing measured (--tiny runs a small geometry on the CPU)")
        return
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    bench = Bench(device, args.tiny, args.out, machine(device))
    print(json.dumps(bench.found))
    print("| section | what | value | |\n|---|---|---|---|")
    for name in args.sections or [name for name in SECTIONS if name != "compiled"]:
        run, seconds = SECTIONS[name]
        start = time.monotonic()
        bench.section, bench.until = name, start + seconds
        try:
            run(bench)
        except Exception as error:  # one section that fails must not cost the others
            bench.found.setdefault("failed", {})[name] = f"{type(error).__name__}: {error}"
            traceback.print_exc()
        bench.row("seconds of the section", time.monotonic() - start, "s")
    if failed := bench.found.get("failed"):
        raise SystemExit(f"failed: {failed}")


def machine(device: torch.device) -> dict[str, object]:
    """Return what the numbers were measured on."""
    card = torch.cuda.get_device_name() if device.type == "cuda" else "none"
    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    for name in ("deepspeed", "peft"):
        try:
            from importlib.metadata import version

            versions[name] = version(name)
        except ImportError:
            versions[name] = "not there"
    return {"card": card, "date": datetime.now(UTC).date().isoformat(), "versions": versions}


if __name__ == "__main__":
    main()
