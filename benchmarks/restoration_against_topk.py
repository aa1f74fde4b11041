"""All seven ratios against an in-memory top-k, which the paper's authors describe: CPU time and memory.

  python benchmarks/restoration_against_topk.py [--layers 10] [--repeats 1]

The in-memory way loads both models, makes one flat bf16 vector of each, ranks the relative change with torch.topk
once per ratio, and writes a checkpoint per ratio: written anew here, from its description, for two of the ratios.
Ours finds seven cuts and writes seven checkpoints. The in-memory way needs about 30 bytes per parameter.
"""

import shutil
from pathlib import Path

import _restoration as common
import torch
from safetensors.torch import save_file

from sftlens.config.stages.restoration import RestorationSettings
from sftlens.models.delta.reader import open_tensors
from sftlens.restoration import criteria, topk
from sftlens.restoration.apply import Restorer
from sftlens.restoration.export import save_restored

TWO = (5.0, 20.0)


def in_memory(place: Path) -> None:
    """Restore two ratios with flat vectors."""
    base, tuned = (dict(open_tensors(place / model)) for model in ("base", "ft"))
    names = [name for name in tuned if "layers" in name and "norm" not in name]
    p, s = (torch.cat([model[name].flatten() for name in names]) for model in (base, tuned))
    change = (s - p).abs() / (p.abs() + 1e-8)
    for ratio in TWO:
        places = torch.topk(change, int(len(change) * ratio / 100)).indices
        restored = s.clone()
        restored[places] = p[places]
        parts = restored.split([tuned[name].numel() for name in names])
        model = tuned | {name: part.view(tuned[name].shape) for name, part in zip(names, parts, strict=True)}
        save_file(model, place / "out.safetensors")


def streaming(place: Path) -> None:
    """Restore seven ratios with a stream."""
    pair, criterion = common.pair(place), criteria.make("relative", RestorationSettings())
    for cut in topk.select(pair, criterion, common.RATIOS):
        save_restored(Restorer(pair, criterion, cut), place / "out", "")
        shutil.rmtree(place / "out")


PARTS = {"two ratios in memory": in_memory, "seven ratios streaming": streaming}


def compare(place: Path, repeats: int) -> None:
    """Print the ratios for one pair of models."""
    elements = common.pair(place).elements()
    theirs, ours = common.measured(PARTS, place, repeats).values()
    print(f"{elements / 1e6:.0f} M ranked: CPU of seven ratios / two in memory = {ours['cpu'] / theirs['cpu']:.2f}")
    print(f"  memory / memory = {ours['memory'] / theirs['memory']:.3f}")
    for part, run in zip(PARTS, (theirs, ours), strict=True):
        print(f"  {part}: {run['cpu']:.1f} CPU s, {run['memory'] / elements:.2f} bytes per element")


if __name__ == "__main__":
    common.run(__doc__, [10], PARTS, compare)
