"""Restoring seven ratios of LLaMA-3-8B's update: both models in the device's memory, then from files."""

import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from bench import Bench, InMemory
from decoding import COPY
from safetensors.torch import save_file

from sftlens.config.stages.restoration import RestorationSettings
from sftlens.models.safetensors_reader import TensorFolder
from sftlens.restoration import criteria, topk
from sftlens.restoration.apply import Restorer
from sftlens.restoration.pairs import Pair

RATIOS = [1, 3, 5, 10, 20, 40, 60]


def pair_of(bench: Bench, layers: int | None) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return the tensors of a model and of one whose weights all changed a little, as after fine-tuning."""
    base = {name: tensor.detach() for name, tensor in bench.model(layers=layers).state_dict().items()}
    tuned = {name: tensor + 1e-4 * torch.randn_like(tensor) for name, tensor in base.items()}
    return base, tuned


@torch.inference_mode()
def run(bench: Bench) -> None:
    """Measure both."""
    bench.drop()
    in_memory(bench)
    from_files(bench)


def in_memory(bench: Bench) -> None:
    """Restore seven ratios of a pair that lies where the GPU reads it, tensor by tensor."""
    base, tuned = pair_of(bench, None)
    pair = Pair(InMemory(base), InMemory(tuned), "transformer", device=bench.device.type)  # type: ignore[arg-type]
    elements = pair.elements()
    copy = bench.ceiling(COPY)
    criterion = criteria.make("relative", RestorationSettings())
    topk.histogram(pair, criterion)  # libraries set themselves up
    start = time.monotonic()
    cuts: list[Any] = []
    seconds = bench.seconds(lambda: cuts.extend(topk.select(pair, criterion, RATIOS)))
    bench.row("choosing the cuts of seven ratios", seconds, "s", copy_limit=4 * elements / copy)
    took = 0.0
    for cut in cuts:
        restorer = Restorer(pair, criterion, cut)
        took += bench.seconds(lambda: [restorer(name, tuned[name]) for name in pair.names])  # noqa: B023
        if bench.left() < 20:
            break
    limit = (4 + 6 * len(cuts)) * elements / copy
    bench.row(
        "restoring seven ratios, models in the device's memory",
        seconds + took,
        "s",
        copy_limit=limit,
        times_the_limit=(seconds + took) / limit,
        elements=elements,
        whole=time.monotonic() - start,
        peak_GB=bench.peak() / 1e9,
    )


def from_files(bench: Bench) -> None:
    """Write a pair of some layers, then rank and restore one ratio from the files."""
    criterion = criteria.make("relative", RestorationSettings())
    base, tuned = pair_of(bench, 1 if bench.tiny else 4)
    with tempfile.TemporaryDirectory() as folder:
        where = [Path(folder) / name for name in ("base", "tuned")]
        for path, tensors in zip(where, (base, tuned), strict=True):
            path.mkdir()
            kept = {name: tensor.cpu() for name, tensor in tensors.items() if "layers" in name}
            save_file(kept, path / "model.safetensors", metadata={"format": "pt"})
        del base, tuned
        for device in dict.fromkeys(("cpu", bench.device.type)):
            folders = [TensorFolder(path) for path in where]
            pair = Pair(*folders, "transformer", device=device)
            size = 4 * pair.elements()
            cuts: list[Any] = []
            seconds = bench.seconds(lambda: cuts.extend(topk.select(pair, criterion, [20])))  # noqa: B023
            restorer = Restorer(pair, criterion, cuts[0])
            more = bench.seconds(
                lambda: [restorer(name, pair.finetuned.get(name).to(device)) for name in pair.names]  # noqa: B023
            )
            bench.row(
                f"from files, 20 %, ranked on {device}",
                seconds + more,
                "s",
                choosing=seconds,
                restoring=more,
                GB_of_both=size / 1e9,
                GB_a_second=2 * size / 1e9 / (seconds + more),
            )
