"""Storing a fine-tuned model as its difference from the base model, and getting it back bit for bit.

A delta is a folder like a checkpoint's, with `delta.json` and `delta.bin` instead of the weight files. Every
reader of models opens it like a checkpoint (`reader.open_tensors`), and `identity.identity` is the same.
"""

import hashlib
import shutil
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

from sftlens.errors import ModelError
from sftlens.files import atomic_path, make_readable, write_json
from sftlens.models import identity
from sftlens.models.delta import codec, manifest
from sftlens.models.delta.reader import LENGTH_BYTES, DeltaTensors, base_pieces, comparable, open_tensors
from sftlens.models.safetensors_reader import TYPES, TensorFolder, raw_bytes

ADAPTER = "adapter"
"""Folder inside of a checkpoint's, of the adapter that was merged into it."""
Progress = Callable[[int], object]


def pack(base: Path, finetuned: Path, folder: Path, progress: Progress = lambda elements: None) -> None:
    """Write a fine-tuned model as a delta into `folder`, atomically; one tensor of each model is in use at a time.

    A tensor that the base lacks, or has in another shape, is stored whole. Where the base has another floating
    point type, the difference is that from its elements cast to the fine-tuned model's type. Models are folders or
    pointers; `progress` is called with the number of elements after each tensor.

    Raises ModelError when a file is damaged, the models have no tensor in common, or one is of a type not in TYPES.
    """
    before, after = open_tensors(base), open_tensors(finetuned)
    for name in after.names:
        if after.dtype(name) not in TYPES:
            raise ModelError(
                f"{after.file(name)}: tensor {name!r} is {after.dtype(name)}, which a delta cannot hold; keep this "
                "model as a checkpoint"
            )
    if after.wrapped:
        raise ModelError(
            f"{after.folder}: its tensors are named with the prefix of a wrapper (torch.compile, FSDP or DDP), which a "
            "delta does not keep; save the model itself and pack that"
        )
    if not set(before.names) & set(after.names):
        raise ModelError(
            f"{before.folder}: has no tensor in common with {after.folder}; give the base model that was fine-tuned"
        )
    contents = identity.describe(after.folder)
    with atomic_path(folder) as partial:
        partial.mkdir()
        _copy_companions(after, contents, partial)
        with (partial / manifest.DATA).open("wb") as data:
            files, tensors = {}, {}
            for file in after.weights:
                raw, offset = after.header(file).raw, data.tell()
                written = data.write(codec.compress(raw))
                files[file] = {**contents[file], "header": {"offset": offset, "bytes": written, "size": len(raw)}}
            for name in after.names:
                tensor = after.get(name)
                origin = before.get(name) if name in before.names and comparable(before, after, name) else None
                own, theirs, offset = hashlib.sha256(), hashlib.sha256(), data.tell()
                for earlier, piece in base_pieces(origin, tensor):
                    frame = codec.encode(piece, earlier)
                    data.write(len(frame).to_bytes(LENGTH_BYTES, "little") + frame)
                    own.update(raw_bytes(piece))
                    if earlier is not None:
                        theirs.update(raw_bytes(earlier))
                tensors[name] = {
                    "dtype": after.dtype(name),
                    "shape": list(after.shape(name)),
                    "offset": offset,
                    "sha256": own.hexdigest(),
                    "base_sha256": None if origin is None else theirs.hexdigest(),
                }
                del tensor, origin  # one tensor of each model is in memory
                progress(prod(after.shape(name)))
            size = data.tell()
        made_from = {"path": manifest.relative(base, folder), "identity": identity.identity(base)}
        record = {"schema": manifest.SCHEMA, "base": made_from, "bytes": size, "files": files, "tensors": tensors}
        write_json(partial / manifest.RECORD, record)
        make_readable(partial)


def unpack(delta: Path, folder: Path, base: Path | None = None, progress: Progress = lambda elements: None) -> None:
    """Write the checkpoint that a delta was made from into `folder`, every file bit for bit, atomically.

    `base` is a folder or pointer, None: where the delta says; `progress` as in `pack`. Raises ModelError when the
    delta is damaged, or the base is not the one it was made from.
    """
    stored = DeltaTensors(delta, base)
    contents = identity.describe(delta)
    with atomic_path(folder) as partial:
        partial.mkdir()
        _copy_companions(stored, contents, partial)
        for file in stored.weights:
            header = stored.header(file)
            with (partial / file).open("wb") as out:
                out.write(header.raw)
                for name in header.names:
                    out.write(raw_bytes(stored.get(name)))
                    progress(prod(stored.shape(name)))
        make_readable(partial)
        if identity.write_manifest(partial) != contents:
            raise ModelError(f"{delta}: holds another checkpoint than it says; copy it again, or make the delta again")


def _copy_companions(model: TensorFolder, contents: dict[str, Any], target: Path) -> None:
    """Copy every file of a model but its weights, and the adapter that it was merged from, if it lies inside."""
    if (model.folder / ADAPTER).is_dir():
        shutil.copytree(model.folder / ADAPTER, target / ADAPTER)
    for name in sorted(set(contents) - set(model.weights)):
        shutil.copyfile(model.folder / name, target / name)
