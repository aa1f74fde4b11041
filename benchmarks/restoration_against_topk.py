"""Seven ratios, and the concentration of the change, against the ways to do it that first come to mind: CPU, memory.

  python benchmarks/restoration_against_topk.py [--layers 10] [--repeats 1]
  python benchmarks/restoration_against_topk.py --smollm2 --repeats 3

In memory: both models as one flat bf16 vector each, ranked by the relative change with torch.topk once per ratio, a
checkpoint written per ratio; for the concentration sorted once. This is how the paper's authors describe it, written
anew here from the description; it needs about 30 bytes per parameter. Tensor by tensor: a pass over both models per
ratio, as tools for merging models go, which ranks within each tensor and so answers another question. Ours finds seven
cuts in a stream and writes seven checkpoints; for the concentration as `sftlens changes` does without its null model.
"""

import shutil
from pathlib import Path

import _restoration as common
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from sftlens.changes import concentration
from sftlens.config.stages.restoration import RestorationSettings
from sftlens.models.delta.reader import open_tensors
from sftlens.restoration import criteria, topk
from sftlens.restoration.apply import Restorer
from sftlens.restoration.export import save_restored

EPSILON = RestorationSettings().epsilon


def ranked(name: str) -> bool:
    """Whether a tensor of these models is of the paper's region."""
    return "layers" in name and "norm" not in name


def flat(place: Path) -> tuple[dict[str, torch.Tensor], list[str], torch.Tensor, torch.Tensor, torch.Tensor]:
    """Load both models; return the tuned one, the names ranked, and base, tuned and relative change as flat vectors."""
    base, tuned = (dict(open_tensors(place / model)) for model in ("base", "ft"))
    names = [name for name in tuned if ranked(name)]
    p, s = (torch.cat([model[name].flatten() for name in names]) for model in (base, tuned))
    return tuned, names, p, s, (s - p).abs() / (p.abs() + EPSILON)


def in_memory(place: Path) -> None:
    """Restore seven ratios with flat vectors."""
    tuned, names, p, s, change = flat(place)
    (place / "out").mkdir()
    for ratio in common.RATIOS:
        places = torch.topk(change, int(len(change) * ratio / 100)).indices
        restored = s.clone()
        restored[places] = p[places]
        parts = restored.split([tuned[name].numel() for name in names])
        model = tuned | {name: part.view(tuned[name].shape) for name, part in zip(names, parts, strict=True)}
        save_file(model, place / "out/model.safetensors")


def tensor_by_tensor(place: Path) -> None:
    """Restore seven ratios of every tensor by itself, in a pass over the files per ratio."""
    (place / "out").mkdir()
    for ratio in common.RATIOS:
        for path in sorted((place / "ft").glob("*.safetensors")):
            made = {}
            with safe_open(path, "pt") as tuned, safe_open(place / "base" / path.name, "pt") as base:
                for name in tuned.keys():  # noqa: SIM118 - no mapping
                    s = made[name] = tuned.get_tensor(name)
                    if ranked(name):
                        p = base.get_tensor(name).flatten()
                        change = (s.flatten() - p).abs() / (p.abs() + EPSILON)
                        places = torch.topk(change, int(len(change) * ratio / 100)).indices
                        s.view(-1)[places] = p[places]
            save_file(made, place / "out" / path.name)


def streaming(place: Path) -> None:
    """Restore seven ratios with a stream."""
    pair, criterion = common.pair(place), criteria.make("relative", RestorationSettings())
    for cut in topk.select(pair, criterion, common.RATIOS):
        save_restored(Restorer(pair, criterion, cut), place / "out", "")
        shutil.rmtree(place / "out")


def concentration_in_memory(place: Path) -> None:
    """Sort the relative change once; sum it, the change and its square up to each ratio."""
    _, _, p, s, change = flat(place)
    order = torch.sort(change, descending=True).indices
    difference = (s - p).float()
    for values in (change.float(), difference.abs(), difference.square()):
        sums = values[order].double().cumsum(0)
        [float(sums[int(len(sums) * ratio / 100) - 1] / sums[-1]) for ratio in concentration.RATIOS]


def concentration_streaming(place: Path) -> None:
    """Do the same, by tensor too, with a stream."""
    pair, criterion = common.pair(place), criteria.make("relative", RestorationSettings())
    concentration.measure(pair, criterion, topk.select(pair, criterion, concentration.RATIOS), EPSILON)


PARTS = {
    "in memory": in_memory,
    "tensor by tensor": tensor_by_tensor,
    "streaming": streaming,
    "concentration, in memory": concentration_in_memory,
    "concentration, streaming": concentration_streaming,
}
AGAINST = {
    "in memory": "streaming",
    "tensor by tensor": "streaming",
    "concentration, in memory": "concentration, streaming",
}


def compare(place: Path, repeats: int) -> None:
    """Print the ratios for one pair of models."""
    elements = common.pair(place).elements()
    runs = common.measured(PARTS, place, repeats)
    print(f"{elements / 1e6:.0f} M ranked, ours / theirs:")
    for theirs, ours in AGAINST.items():
        cpu, memory = (runs[ours][what] / runs[theirs][what] for what in ("cpu", "memory"))
        print(f"  {ours} / {theirs}: CPU {cpu:.2f}, memory {memory:.3f}")
    for part, run in runs.items():
        print(f"  {part}: {run['cpu']:.1f} CPU s, {run['memory'] / elements:.2f} bytes per element")


if __name__ == "__main__":
    common.run(__doc__, [10], PARTS, compare)
