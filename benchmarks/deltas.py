"""Delta checkpoints against plain ones: size, CPU time of packing and unpacking against a plain copy, memory.

  python benchmarks/deltas.py [--layers 1 2] [--repeats 3]

The models are synthetic, in bf16; every weight was moved by normal noise of 1.5 % of their spread. `copy` reads the
fine-tuned files and writes them elsewhere; `read` decodes as loading does. For sizes on real models see
benchmarks/delta_codings.py.
"""

import math
import shutil
from pathlib import Path

import _restoration as common

from sftlens.models.delta import packing
from sftlens.models.delta.reader import open_tensors
from sftlens.models.safetensors_reader import weight_files


def copy(place: Path) -> None:
    """Copy the fine-tuned model."""
    for path in weight_files(place / "ft"):
        with path.open("rb") as source, (place / "copy.bin").open("wb") as out:
            shutil.copyfileobj(source, out, 1 << 20)


def pack(place: Path) -> None:
    """Make the delta."""
    packing.pack(place / "base", place / "ft", place / "delta")


def unpack(place: Path) -> None:
    """Make the checkpoint again."""
    packing.unpack(place / "delta", place / "again")


def read(place: Path) -> None:
    """Decode every tensor, as loading does."""
    for _ in open_tensors(place / "delta"):
        pass


PARTS = {"copy": copy, "pack": pack, "unpack": unpack, "read": read}


def compare(place: Path, repeats: int) -> None:
    """Print the ratios for one pair of models."""
    found = common.measured(PARTS, place, repeats)
    copied = found["copy"]["cpu"]
    folder = open_tensors(place / "ft")
    elements = sum(math.prod(folder.shape(name)) for name in folder.names)
    plain = sum(path.stat().st_size for path in weight_files(place / "ft"))
    delta = (place / "delta" / "delta.bin").stat().st_size
    print(f"{elements / 1e6:.0f} M elements: size of the delta / checkpoint = {delta / plain:.3f}")
    for part in ("pack", "unpack", "read"):
        cpu, memory = found[part]["cpu"], found[part]["memory"]
        print(
            f"  {part} / copy = {cpu / copied:.1f} in CPU time: {cpu / elements * 1e9:.1f} ns per element, "
            f"{plain / cpu / 1e6:.0f} MB/s (copy {plain / copied / 1e6:.0f}); memory beyond mapped files "
            f"{memory / 1e6:.0f} MB"
        )


if __name__ == "__main__":
    common.run(__doc__, [1, 2], PARTS, compare)
