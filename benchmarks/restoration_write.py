"""Writing one restored checkpoint (20 %, cut known) against a plain copy of the same bytes: CPU and wall time.

  python benchmarks/restoration_write.py [--layers 10] [--repeats 3]

Both end with the files on the disk (fsync). The copy reads one model and computes nothing.
"""

import json
import os
import shutil
from pathlib import Path

import _restoration as common

from sftlens.restoration import orders, selection
from sftlens.restoration.application import Restorer
from sftlens.restoration.cuts import Cut
from sftlens.restoration.saving import save_restored
from sftlens.settings.restoration import RestorationSettings


def copy(place: Path) -> None:
    """Copy the fine-tuned model."""
    shutil.copytree(place / "ft", place / "out")
    flushed(place / "out")


def restore(place: Path) -> None:
    """Write the restored model."""
    cut = Cut(**json.loads((place / "cut.json").read_text()))
    pair, order = common.pair(place), orders.make("relative", RestorationSettings())
    save_restored(Restorer(pair, order, cut), place / "out", "")
    flushed(place / "out")


def flushed(folder: Path) -> None:
    """Wait until the files of a folder are on the disk."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file)


PARTS = {"copy": copy, "restore": restore}


def main() -> None:
    args = common.arguments(__doc__, [10])
    if args.part:
        place = Path(args.part[1])
        common.report(lambda: PARTS[args.part[0]](place))
        shutil.rmtree(place / "out")
        return
    for layers in args.layers:
        with common.models(layers, args.folder) as place:
            pair, order = common.pair(place), orders.make("relative", RestorationSettings())
            (place / "cut.json").write_text(json.dumps(vars(selection.select(pair, order, [20.0])[0])))
            copied, restored = common.measured(list(PARTS), place, args.repeats).values()
        for clock in ("wall", "cpu"):
            print(
                f"{pair.elements() / 1e6:.0f} M ranked: restore / copy, {clock} = {restored[clock] / copied[clock]:.2f}"
            )
        for part, run in zip(PARTS, (copied, restored), strict=True):
            print(f"  {part}: {run['cpu']:.2f} CPU s, {run['wall']:.2f} s")
        print(f"  memory of restore beyond mapped files: {restored['memory'] / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
