"""Writing one restored checkpoint (20 %, cut known) against a plain copy of the same bytes: CPU and wall time.

  python benchmarks/restoration_write.py [--layers 10] [--repeats 3]

Each ends with the files on the disk (fsync). The copies read one model and compute nothing: one is made inside of the
kernel (shutil.copytree), through which no byte reaches the program, the other writes what it has mapped, as we do.
"""

import json
import mmap
import os
import shutil
from pathlib import Path

import _restoration as common

from sftlens.config.stages.restoration import RestorationSettings
from sftlens.restoration import criteria, topk
from sftlens.restoration.apply import Restorer
from sftlens.restoration.cuts import Cut
from sftlens.restoration.export import save_restored


def copy_in_kernel(place: Path) -> None:
    """Copy the fine-tuned model; on Linux the kernel moves the bytes."""
    shutil.copytree(place / "ft", place / "out")
    flushed(place / "out")


def copy_mapped(place: Path) -> None:
    """Copy the fine-tuned model from mapped memory."""
    (place / "out").mkdir()
    for path in (place / "ft").iterdir():
        with path.open("rb") as source, (place / "out" / path.name).open("wb") as out:
            out.write(mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ))
    flushed(place / "out")


def restore(place: Path) -> None:
    """Write the restored model."""
    cut = Cut(**json.loads((place / "cut.json").read_text()))
    pair, criterion = common.pair(place), criteria.make("relative", RestorationSettings())
    save_restored(Restorer(pair, criterion, cut), place / "out", "")
    flushed(place / "out")


def flushed(folder: Path) -> None:
    """Wait until the files of a folder are on the disk."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file)


PARTS = {"copy in the kernel": copy_in_kernel, "copy of mapped files": copy_mapped, "restore": restore}


def compare(place: Path, repeats: int) -> None:
    """Print the ratios for one pair of models."""
    pair, criterion = common.pair(place), criteria.make("relative", RestorationSettings())
    (place / "cut.json").write_text(json.dumps(vars(topk.select(pair, criterion, [20.0])[0])))
    found = common.measured(PARTS, place, repeats)
    restored = found["restore"]
    for part in list(PARTS)[:2]:
        ratios = ", ".join(f"{clock} {restored[clock] / found[part][clock]:.2f}" for clock in ("wall", "cpu"))
        print(f"{pair.elements() / 1e6:.0f} M ranked: restore / {part}: {ratios}")
    for part, run in found.items():
        print(f"  {part}: {run['cpu']:.2f} CPU s, {run['wall']:.2f} s")
    print(f"  memory of restore beyond mapped files: {restored['memory'] / 1e6:.0f} MB")


if __name__ == "__main__":
    common.run(__doc__, [10], PARTS, compare)
