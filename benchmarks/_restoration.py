"""Synthetic pairs of checkpoints, and measuring parts of a benchmark in processes of their own."""

import argparse
import json
import mmap
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import torch
from safetensors.torch import save_file

import sftlens.commands.program  # noqa: F401 - one numeric thread, as all programs have, before torch is imported
from sftlens.models.delta.reader import open_tensors
from sftlens.models.safetensors_reader import INDEX
from sftlens.restoration.pairs import Pair

RATIOS = (1.0, 3.0, 5.0, 10.0, 20.0, 40.0, 60.0)
GEOMETRY = {"hidden_size": 2048, "intermediate_size": 5632, "kv_size": 512, "vocab_size": 32000}
"""A LLaMA-like decoder; its 45 M parameters per layer make 516 M with 10 layers."""

SMOLLM2 = {"hidden_size": 576, "intermediate_size": 1536, "kv_size": 192, "vocab_size": 49152}

Parts = Mapping[str, Callable[[Path], object]]
"""What is measured, by name; each is given the folder of `models`."""


def run(doc: str | None, layers: list[int], parts: Parts, compare: Callable[[Path, int], None]) -> None:
    """Call `compare(folder, repeats)` for models of each size, or do one part of it, as `measured` asks for.

    Args:
        doc: what `--help` says.
        layers: sizes unless others are asked for.
        parts: what `measured` can be asked for; what they write to `out` in the folder is deleted after each.
        compare: measures and prints.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=layers, help="sizes of the synthetic models")
    parser.add_argument("--repeats", type=int, default=3, help="how often each part is measured, in turns")
    parser.add_argument("--folder", type=Path, help="where to make the models (default: a temporary folder)")
    parser.add_argument("--smollm2", action="store_true", help="models of the shape of SmolLM2-135M")
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--watched", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        name, place = args.part[0], Path(args.part[1])
        (watched if args.watched else timed)(lambda: parts[name](place))
        shutil.rmtree(place / "out", ignore_errors=True)
        return
    if args.smollm2:
        GEOMETRY.update(SMOLLM2)
        args.layers = [30]
    for size in args.layers:
        with models(size, args.folder) as place:
            compare(place, args.repeats)


@contextmanager
def models(layers: int, folder: Path | None) -> Iterator[Path]:
    """Yield a folder with `base` and `ft`, one weight file per layer; it is deleted at the end."""
    place = Path(tempfile.mkdtemp(prefix="sftlens-benchmark-", dir=folder))
    try:
        generator = torch.Generator().manual_seed(0)
        for layer in range(-1, layers):
            base = {name: torch.randn(shape, generator=generator).mul_(0.02).bfloat16() for name, shape in at(layer)}
            tuned = {
                name: p.float().add_(torch.randn(p.shape, generator=generator), alpha=3e-4).bfloat16()
                for name, p in base.items()
            }
            for model, tensors in (("base", base), ("ft", tuned)):
                save(place / model, f"model-{layer + 2:05}-of-{layers + 1:05}.safetensors", tensors)
        yield place
    finally:
        shutil.rmtree(place)


def save(folder: Path, file: str, tensors: dict[str, torch.Tensor]) -> None:
    """Write one weight file and its names into the index."""
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / file, {"format": "pt"})
    index = json.loads((folder / INDEX).read_text()) if (folder / INDEX).exists() else {"weight_map": {}}
    index["weight_map"] |= dict.fromkeys(tensors, file)
    (folder / INDEX).write_text(json.dumps(index))


def at(layer: int) -> list[tuple[str, tuple[int, ...]]]:
    """Return names and shapes of the tensors of one layer; of the embeddings for -1."""
    hidden, inner, kv = GEOMETRY["hidden_size"], GEOMETRY["intermediate_size"], GEOMETRY["kv_size"]
    if layer < 0:
        return [("model.embed_tokens.weight", (GEOMETRY["vocab_size"], hidden)), ("model.norm.weight", (hidden,))]
    attention = {"q": hidden, "k": kv, "v": kv, "o": hidden}
    shapes = {f"self_attn.{name}_proj": (size, hidden) for name, size in attention.items()}
    shapes |= {"mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden), "mlp.down_proj": (hidden, inner)}
    return [(f"model.layers.{layer}.{name}.weight", shape) for name, shape in shapes.items()]


def pair(place: Path) -> Pair:
    """Open the models and return the paper's region of them."""
    return Pair(open_tensors(place / "base"), open_tensors(place / "ft"), "transformer")


def timed(work: Callable[[], object]) -> None:
    """Do the work of a part in this process and print its CPU and wall seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    print(json.dumps({"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}))


def watched(work: Callable[[], object]) -> None:
    """Do the work of a part in this process and print its anonymous memory, bytes: looking at it takes time.

    The least is a page, so that ratios can be made: the kernel counts in lots, and sees nothing of tiny models.
    """
    before, stop = anonymous(), threading.Event()
    peak = [before]

    def watch() -> None:
        while not stop.wait(0.002):
            peak[0] = max(peak[0], anonymous())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    work()
    stop.set()
    watcher.join()
    print(json.dumps({"memory": max(peak[0] - before, mmap.PAGESIZE)}))


def anonymous() -> int:
    """Return the resident memory of this process that is no mapped file, bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def measured(parts: Iterable[str], place: Path, repeats: int) -> dict[str, dict[str, float]]:
    """Return each part's memory and medians of its times, the parts taking turns in processes of their own."""
    found: dict[str, list[dict[str, float]]] = {part: [] for part in parts}
    memory = {part: _apart(part, place, "--watched") for part in found}
    for _ in range(repeats):
        for part in found:
            found[part].append(_apart(part, place))
    medians = {p: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for p, runs in found.items()}
    return {part: medians[part] | memory[part] for part in found}


def _apart(part: str, place: Path, *more: str) -> dict[str, float]:
    command = [sys.executable, sys.argv[0], "--part", part, str(place), *more]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    printed: dict[str, float] = json.loads(done.stdout)
    return printed
