"""The tensors of a checkpoint's safetensors files, read one by one."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from typing_extensions import TypedDict

from sftlens.errors import ModelError
from sftlens.files import read_json
from sftlens.gate import Count, FileName, parse_json, shaped
from sftlens.models.folders import refuse_pointer
from sftlens.models.names import unwrapped

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
"""Types of tensors in the words of the format."""


class Index(TypedDict):
    """What model.safetensors.index.json must hold: the weight file of each tensor."""

    weight_map: dict[str, FileName]


class Extent(TypedDict):
    """What is needed here of a tensor's entry in a header."""

    data_offsets: Annotated[list[Count], Field(min_length=2, max_length=2)]


def weight_files(folder: Path) -> list[Path]:
    """Return a checkpoint's safetensors files, by name; as in transformers a single file has precedence over an index.

    Raises ModelError when there are none.
    """
    names = {SINGLE}
    if (folder / INDEX).is_file() and not (folder / SINGLE).is_file():
        refuse_pointer(folder / INDEX)
        names = set(read_json(folder / INDEX, Index, ModelError)["weight_map"].values())
        if not names:
            raise ModelError(f"{folder / INDEX}: key 'weight_map' is empty; fetch the file again")
    for name in sorted(names):
        if not (folder / name).is_file():
            raise ModelError(
                f"{folder}: weight file {name!r} is missing; fetch the complete checkpoint in safetensors "
                "format (pickle files such as pytorch_model.bin are not read: convert them first)"
            )
    return [folder / name for name in sorted(names)]


def open_file(path: Path) -> Any:
    """Open one safetensors file lazily. Raises ModelError when it is missing or damaged."""
    refuse_pointer(path)
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path}: not a readable safetensors file ({error}); it is truncated or damaged: fetch it again"
        ) from None


class TensorFolder:
    """The tensors of a checkpoint, read lazily, in checkpoint order (file by file, by name within a file).

    A tensor goes by the name of its parameter, without the prefixes that `names.unwrapped` takes off.
    """

    wrapped = False
    """Whether some tensor is stored under another name than its parameter's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, tuple[Any, str]] = {}
        self._paths: dict[str, Path] = {}
        paths = weight_files(folder)
        for path in paths:
            handle = open_file(path)
            for stored in handle.keys():  # noqa: SIM118 - not a dict
                name = unwrapped(stored)
                if name in self._files and self._files[name][1] != stored:
                    raise ModelError(
                        f"{path}: tensors {stored!r} and {self._files[name][1]!r} are one parameter, {name!r}; save "
                        "the model itself, without the wrapper that it was trained in"
                    )
                self._files[name] = handle, stored
                self._paths[name] = path
                self.wrapped |= name != stored
        # The index of a sharded checkpoint says which file holds what: files of two checkpoints do not fit together.
        single = paths == [folder / SINGLE]
        index = {} if single else read_json(folder / INDEX, Index, ModelError)["weight_map"]
        for name, file in index.items():
            if self._paths.get(unwrapped(name)) != folder / file:
                raise ModelError(
                    f"{folder / file}: tensor {name!r} is not in this file, but {INDEX} says so; the files are of "
                    "different checkpoints: fetch all of them again"
                )

    @property
    def weights(self) -> list[str]:
        """Names of the weight files."""
        return [path.name for path in weight_files(self.folder)]

    def header(self, file: str) -> "Header":
        """Header of one weight file."""
        with (self.folder / file).open("rb") as stored:
            length = stored.read(8)
            found = parse_header(length + stored.read(int.from_bytes(length, "little")), self.folder / file)
        names = [unwrapped(name) for name in found.names]
        if names == found.names:
            return found
        entries = {unwrapped(name): entry for name, entry in json.loads(found.raw[8:]).items()}
        return Header(framed(json.dumps(entries, separators=(",", ":"))), names)

    @property
    def names(self) -> list[str]:
        """Names of the tensors in checkpoint order."""
        return list(self._files)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor."""
        handle, stored = self._files[name]
        return tuple(handle.get_slice(stored).get_shape())

    def dtype(self, name: str) -> str:
        """Stored type of one tensor in safetensors' words, such as BF16."""
        handle, stored = self._files[name]
        return str(handle.get_slice(stored).get_dtype())

    def file(self, name: str) -> Path:
        """The file that one tensor lies in."""
        return self._paths[name]

    def get(self, name: str) -> torch.Tensor:
        """Return one tensor as stored."""
        handle, stored = self._files[name]
        tensor: torch.Tensor = handle.get_tensor(stored)
        return tensor

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        return ((name, self.get(name)) for name in self.names)


@dataclass(frozen=True)
class Header:
    """What stands before the data of one safetensors file."""

    raw: bytes
    """All bytes before the data."""
    names: Sequence[str]
    """Names of the tensors in the order of their data."""


def parse_header(raw: bytes, source: Path) -> Header:
    """Return what the bytes before the data of the safetensors file `source` say. Raises ModelError."""
    try:
        entries = parse_json(raw[8:].decode("utf-8"))
    except ValueError as error:
        raise ModelError(f"{source}: its header is damaged ({error}); fetch or make it again") from None
    if isinstance(entries, dict):
        entries.pop("__metadata__", None)
    extents = shaped(entries, dict[str, Extent], source, ModelError)
    return Header(raw, sorted(extents, key=lambda name: extents[name]["data_offsets"]))


def framed(header: str) -> bytes:
    """Return the bytes before the data of a safetensors file: the length of its header, and the header's JSON."""
    text = header.encode()
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of eight
    return len(text).to_bytes(8, "little") + text


def raw_bytes(tensor: torch.Tensor) -> memoryview:
    """Return the bytes of a tensor in the main memory, as a file holds them."""
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data
