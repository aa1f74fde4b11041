"""Writing a restored model as a Hugging Face folder, or the level of every element, piece by piece."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from sftlens import files
from sftlens.errors import ConfigError
from sftlens.models.identity import CONFIGURATION, ORIGIN, TOKENIZER, copy_matching
from sftlens.models.names import unwrapped
from sftlens.models.safetensors_reader import INDEX, SINGLE, raw_bytes
from sftlens.models.safetensors_writer import TensorSpec, header
from sftlens.restoration.apply import Method
from sftlens.restoration.criteria import Criterion
from sftlens.restoration.cuts import Cut, levels
from sftlens.restoration.pairs import Pair
from sftlens.restoration.topk import keys_of

MOST_LEVELS = 255
"""Ratios that a level map can tell apart."""
NOT_RESTORED = 255
"""Level of elements that no listed ratio restores."""


def save_restored(restorer: Method, folder: Path, card: str) -> None:
    """Write the restored model into a new folder, `card` as its README.md.

    Files, names, types and order of tensors are those of the fine-tuned one.
    """
    finetuned = restorer.pair.finetuned
    folder.mkdir(parents=True)
    sharded = finetuned.weights != [SINGLE]
    copy_matching(finetuned.folder, (*CONFIGURATION, *TOKENIZER, ORIGIN, *([INDEX] if sharded else [])), folder)
    if sharded and finetuned.wrapped:
        index = files.read_json(folder / INDEX)
        named = {unwrapped(name): file for name, file in index["weight_map"].items()}
        files.write_json(folder / INDEX, {**index, "weight_map": named})
    (folder / "README.md").write_text(card, encoding="utf-8")
    for file in finetuned.weights:
        stored = finetuned.header(file)
        with (folder / file).open("wb") as out:
            out.write(stored.raw)
            for name in stored.names:
                tensor = finetuned.get(name)
                out.writelines(map(raw_bytes, restorer.pieces(name, tensor) if restorer.changes(name) else [tensor]))
    files.make_readable(folder)


def save_levels(
    pair: Pair, criterion: Criterion, cuts: Sequence[Cut], metadata: Mapping[str, str], target: Path
) -> None:
    """Write the level of each element of the region: the index of the smallest ratio that restores it.

    The safetensors file holds one uint8 tensor per tensor of the region, of its shape; NOT_RESTORED where no ratio
    restores the element. Its metadata has the list `ratios` (JSON, ascending) besides `metadata`. `cuts` are at most
    MOST_LEVELS, by increasing ratio.
    """
    ratios = json.dumps([cut.ratio for cut in cuts])
    specs = [TensorSpec(name, pair.finetuned.shape(name), torch.uint8) for name in pair.names]
    with files.atomic_path(target) as partial, partial.open("wb") as out:
        out.write(header(specs, {"ratios": ratios, **metadata}, separators=(", ", ": ")))
        for piece in pair.pieces():
            level = levels(cuts, piece.name, keys_of(criterion, piece), piece.start)
            out.write(raw_bytes(level.masked_fill_(level == len(cuts), NOT_RESTORED).cpu()))


def check_levels(ratios: Sequence[float]) -> None:
    """Raise ConfigError when there are more ratios than a level map can tell apart."""
    if len(ratios) > MOST_LEVELS:
        raise ConfigError(f"--level-map: {len(ratios)} ratios, but one byte tells {MOST_LEVELS} apart; give fewer")


def check_out(out: Path, inputs: Sequence[Path], whole: bool = False) -> None:
    """Raise ConfigError if writing to the folder `out` would touch a folder of `inputs`, or files that are not ours.

    `whole`: the folder `out` is replaced as a whole rather than single files in it.
    """
    target = out.resolve()
    for source in (path.resolve() for path in inputs):
        if target == source or target in source.parents or source in target.parents:
            raise ConfigError(f"--out {out}: holds or is inside of an input, {source}; choose another folder")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out}: is a file; choose a folder")
    summary = out / "summary.json"
    ours = (
        summary.is_file() and files.read_json(summary, dict[str, Any]).get("stage") == "restore"
    )  # an earlier restoration
    if whole and out.is_dir() and any(out.iterdir()) and not ours:
        raise ConfigError(f"--out {out}: holds files that were not made here; choose a new or empty folder")


def check_file(target: Path, inputs: Sequence[Path]) -> None:
    """Raise ConfigError if writing the file `target` would touch an input, or if it is a folder."""
    if target.is_dir():
        raise ConfigError(f"--level-map {target}: is a folder; choose a file")
    place = target.resolve()
    for source in (path.resolve() for path in inputs):
        if source in place.parents:
            raise ConfigError(f"--level-map {target}: is inside of an input, {source}; choose another place")
