"""The tensors of a model folder, whether it holds weights or a delta; a delta is decoded as it is read."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from sftlens import files
from sftlens.errors import ModelError
from sftlens.models.delta import codec, manifest
from sftlens.models.folders import resolve
from sftlens.models.safetensors_reader import TYPES, Header, TensorFolder, parse_header, raw_bytes

LENGTH_BYTES = 4
"""Before each frame of a tensor stands its length, little-endian."""


def open_tensors(path: Path, above: tuple[Path, ...] = ()) -> TensorFolder:
    """Open the tensors of a model folder or pointer, the base of the deltas `above`.

    Raises ModelError on missing or damaged files, and on a delta that is its own base.
    """
    folder = resolve(path)
    if folder.resolve() in above:
        raise ModelError(f"{folder / manifest.RECORD}: key 'base.path' leads back to this delta; give the base model")
    return DeltaTensors(folder, above=above) if manifest.is_delta(folder) else TensorFolder(folder)


class DeltaTensors(TensorFolder):
    """The tensors of a fine-tuned model that is stored as a delta, each decoded and checked when it is read."""

    def __init__(self, folder: Path, base: Path | None = None, above: tuple[Path, ...] = ()) -> None:
        """Open what `packing.pack` made; the base is a folder or pointer, None: where the record says.

        `above` are the deltas whose base this one is. Raises ModelError when the delta is damaged, or the base is not
        there or is no model.
        """
        self.folder = folder
        self._data = folder / manifest.DATA
        self._record = manifest.read(folder)
        self._entries = self._record["tensors"]
        for name, entry in self._entries.items():
            if entry["dtype"] not in TYPES:
                raise ModelError(
                    f"{folder / manifest.RECORD}: key 'tensors.{name}.dtype' is none of {', '.join(TYPES)}; make the "
                    "delta again"
                )
        self._base = open_tensors(base or manifest.base_of(folder), (*above, folder.resolve()))
        self._known = set(self._base.names)

    @property
    def names(self) -> list[str]:
        """Names of the tensors in the order of the checkpoint that was packed."""
        return list(self._entries)

    @property
    def weights(self) -> list[str]:
        """Names of the weight files that the delta stands for."""
        return list(self._record["files"])

    def header(self, file: str) -> Header:
        """Header of one of these weight files."""
        stored = self._record["files"][file]["header"]
        with self._data.open("rb") as data:
            data.seek(stored["offset"])
            frame = data.read(stored["bytes"])
        try:
            header = parse_header(codec.decompress(frame, stored["size"]), self._data)
        except ValueError:
            raise self._damaged(f"the header of {file}") from None
        if not self._entries.keys() >= set(header.names):
            raise self._damaged(f"the header of {file}")
        return header

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor."""
        return tuple(self._entries[name]["shape"])

    def dtype(self, name: str) -> str:
        """Type of one tensor in safetensors' words, such as BF16."""
        return self._entries[name]["dtype"]

    def file(self, name: str) -> Path:
        """The file that one tensor lies in."""
        return self._data

    def get(self, name: str) -> Tensor:
        """Return one tensor, bit for bit the one that was packed. Raises ModelError on a wrong base or damaged data."""
        entry = self._entries[name]
        base = None
        if entry["base_sha256"] is not None:
            if name not in self._known or self._base.shape(name) != self.shape(name):
                raise self._wrong_base(name, self._base.folder)
            base = self._base.get(name)
        try:
            tensor = torch.empty(entry["shape"], dtype=TYPES[entry["dtype"]])
        except RuntimeError:
            raise ModelError(
                f"{self.folder / manifest.RECORD}: key 'tensors.{name}.shape': {entry['shape']} does not fit into "
                "the memory; take a machine with more, or make the delta again"
            ) from None
        digest = hashlib.sha256()
        with self._data.open("rb") as data:
            data.seek(entry["offset"])
            for before, piece in base_pieces(base, tensor):
                frame = data.read(int.from_bytes(data.read(LENGTH_BYTES), "little"))
                try:
                    codec.decode(frame, before, piece)
                except ValueError:
                    raise self._damaged(f"tensor {name!r}") from None
                digest.update(raw_bytes(piece))
        if digest.hexdigest() != entry["sha256"]:
            # Another tensor came out: the base is another one, or the data is damaged.
            if base is not None and sha256_of(base, tensor.dtype) != entry["base_sha256"]:
                raise self._wrong_base(name, self._base.file(name))
            raise self._damaged(f"tensor {name!r}")
        return tensor

    def _wrong_base(self, name: str, path: Path) -> ModelError:
        return ModelError(
            f"{path}: tensor {name!r} is not the one that the delta {self.folder} was made from; put that base model "
            f"back (its content hash is {self._record['base']['identity'][:16]}...), or correct key 'base.path' in "
            f"{manifest.RECORD}"
        )

    def _damaged(self, what: str) -> ModelError:
        return ModelError(f"{self._data}: {what} is damaged; copy the file again, or make the delta again")


def verify(folder: Path) -> None:
    """Raise ModelError unless a delta decodes to the very files that its record says it stands for.

    All of it is decoded, one tensor at a time; that a large delta was found right is remembered in the user's cache.
    """
    record, data = manifest.read(folder), folder / manifest.DATA
    said = json.dumps({**record, "base": record["base"]["identity"]}, sort_keys=True)
    proof = files.cache_folder("deltas", hashlib.sha256(f"{said}{files.known_sha256(data)}".encode()).hexdigest())
    if proof.is_file():
        return
    stored = DeltaTensors(folder)
    for file in stored.weights:
        header = stored.header(file)
        digest = hashlib.sha256(header.raw)
        for name in header.names:
            digest.update(raw_bytes(stored.get(name)))
        if digest.hexdigest() != record["files"][file]["sha256"]:
            raise ModelError(
                f"{folder / manifest.RECORD}: key 'files.{file}.sha256' is another file's than the delta decodes to; "
                "copy both files again, or make the delta again"
            )
    if data.stat().st_size >= files.REMEMBERED_BYTES:
        with suppress(OSError):
            files.write_text(proof, "")


def base_pieces(base: Tensor | None, tensor: Tensor) -> Iterator[tuple[Tensor | None, Tensor]]:
    """Yield base (cast to the tensor's type; None where there is none) and tensor side by side, piece by piece."""
    own = codec.pieces(tensor)
    if base is None:
        yield from ((None, piece) for piece in own)
    else:
        for before, piece in zip(codec.pieces(base), own, strict=True):
            yield codec.cast(before, tensor.dtype), piece


def sha256_of(tensor: Tensor, dtype: torch.dtype) -> str:
    """Return the SHA-256 of a tensor's bytes after a cast to `dtype`."""
    digest = hashlib.sha256()
    for piece in codec.pieces(tensor):
        digest.update(raw_bytes(codec.cast(piece, dtype)))
    return digest.hexdigest()


def comparable(base: TensorFolder, finetuned: TensorFolder, name: str) -> bool:
    """Whether a tensor of both models has one shape, and one type or two of floating point numbers."""
    if base.shape(name) != finetuned.shape(name):
        return False
    types = [TYPES.get(folder.dtype(name)) for folder in (base, finetuned)]
    return types[0] == types[1] or all(t is not None and t.is_floating_point for t in types)
