"""A base model and a fine-tuned one side by side: checked, then read one piece of one tensor at a time."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import isfinite, prod
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from sftlens.errors import ModelError
from sftlens.models.names import same_by_bare_name
from sftlens.models.safetensors_reader import TensorFolder
from sftlens.restoration.regions import is_parameter, rule, select

FLOATS = ("BF16", "F16", "F32", "F64")
PIECE = 1 << 17
"""Elements of a piece; speed and memory only: a piece and its intermediate values fit into a core's cache."""
GPU_PIECE = 1 << 26
"""On a GPU, where each operation on a piece costs a launch."""
SAMPLE, PERIOD = 32, 2039
"""A sample takes the first elements of each period, a prime, so that it does not keep to some columns."""


class Piece(NamedTuple):
    """Elements start, start + 1, ... of one flattened tensor; `base` and `finetuned` are 1-D, of one dtype.

    `finetuned` is as stored, `base` as cast to the dtype of `finetuned` (see `Pair`). `p` and `s` are copies of them
    in fp32, finite, for a criterion to work in: it may overwrite them, and the next piece does.
    """

    name: str
    start: int
    base: Tensor
    finetuned: Tensor
    p: Tensor
    s: Tensor


class Pair:
    """The parameters of one region in both models; tensors outside it need not fit together.

    The pre-trained value p of an element is the base's element cast to the fine-tuned model's dtype: the value
    that training in that dtype started from. So a base in F32 or F16 goes with a fine-tuned model in BF16, and
    what restoration brings back is that cast value, bit for bit the stored one where the dtypes are equal.

    `names` holds them in the order that breaks ties: by name, as a checkpoint of one file lists them, so that
    the way a checkpoint is cut into files changes nothing.
    """

    def __init__(
        self,
        base: TensorFolder,
        finetuned: TensorFolder,
        region: str,
        piece: int | None = None,
        progress: Callable[[int], object] = lambda elements: None,
        device: str = "cpu",
    ) -> None:
        """Check that the models fit together in a region (`regions.select`).

        Elements are ranked on `device`, `piece` at a time (None: PIECE on a CPU, else GPU_PIECE), which changes no
        result; `progress` is called with their number after each piece. Raises ConfigError for an unknown region,
        ModelError where names or shapes differ in it, it holds something else than floating point numbers, or nothing.
        """
        base = aligned(base, finetuned.names)
        self.base = base
        self.finetuned = finetuned
        self.region = region
        self.names = sorted(select(finetuned.names, region))
        self.piece = piece
        self.progress = progress
        self.device = device
        check_same(base, finetuned, region)
        for folder, name in ((folder, name) for folder in (base, finetuned) for name in self.names):
            if folder.dtype(name) not in FLOATS:
                raise ModelError(
                    f"{folder.folder}: tensor {name!r} is {folder.dtype(name)}; restoration needs one of "
                    f"{', '.join(FLOATS)}: give models that are not quantised"
                )

    def elements(self) -> int:
        """Return the number of elements of the region."""
        return sum(self.size(name) for name in self.names)

    def size(self, name: str) -> int:
        """Return the number of elements of one tensor."""
        return prod(self.finetuned.shape(name))

    def pieces(self, name: str = "", begin: int = 0) -> Iterator[Piece]:
        """Yield the region by pieces, from element `begin` of the tensor `name` on. Raises ModelError on NaN or Inf."""
        for tensor in self.names:
            if tensor >= name:
                yield from self.of(tensor, self.finetuned.get(tensor).to(self.device), begin if tensor == name else 0)

    def of(self, name: str, finetuned: Tensor, begin: int = 0) -> Iterator[Piece]:
        """Yield one tensor by pieces, `finetuned` beside the base's. Raises ModelError on NaN or Inf."""
        flat = finetuned.reshape(-1)
        base = self.base.get(name).to(flat.device).reshape(-1)
        # One buffer for all pieces: fresh memory for each costs more than what is computed in it.
        most = self.piece or (PIECE if flat.is_cpu else GPU_PIECE)
        p, s = torch.empty(2, min(most, flat.numel()), device=flat.device)
        start = begin
        for stored, tuned in zip(base[begin:].split(most), flat[begin:].split(most), strict=True):
            number = len(tuned)
            yield self._piece(name, start, stored, tuned, p[:number], s[:number])
            self.progress(number)
            start += number

    def sample(self) -> Iterator[Piece]:
        """Yield a piece for each tensor: elements from all over it, all of them where there are few."""
        for name in self.names:
            base, finetuned = (thinned(folder.get(name).to(self.device)) for folder in (self.base, self.finetuned))
            yield self._piece(name, 0, base, finetuned, *torch.empty(2, len(base), device=base.device))

    def _piece(self, name: str, start: int, stored: Tensor, finetuned: Tensor, p: Tensor, s: Tensor) -> Piece:
        base = stored.to(finetuned.dtype)
        p.copy_(base)
        s.copy_(finetuned)
        # The sum of p s is finite unless an element is not (or it overflows: then look at each element).
        if not isfinite(float(p.dot(s))):
            for folder, values, casts in ((self.base, stored, (base, p)), (self.finetuned, finetuned, (s,))):
                check_values(folder, name, values, casts)
        return Piece(name, start, base, finetuned, p, s)


def thinned(tensor: Tensor) -> Tensor:
    """Return some elements from all over a tensor, 1-D: the first of each period, or all of a small tensor."""
    flat = tensor.reshape(-1)
    periods = flat.numel() // PERIOD
    return flat[: periods * PERIOD].view(periods, PERIOD)[:, :SAMPLE].reshape(-1) if periods > 1 else flat


class Renamed(TensorFolder):
    """A checkpoint whose tensors go by other names; nothing else of it changes."""

    def __init__(self, source: TensorFolder, names: Mapping[str, str]) -> None:
        """Take the tensors of `source`, `names` saying what each is called here -> there."""
        self.folder = source.folder
        self._source, self._names = source, names

    @property
    def names(self) -> list[str]:
        """The names here, in checkpoint order."""
        return list(self._names)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor."""
        return self._source.shape(self._names[name])

    def dtype(self, name: str) -> str:
        """Stored type of one tensor in safetensors' words."""
        return self._source.dtype(self._names[name])

    def file(self, name: str) -> Path:
        """The file that one tensor lies in."""
        return self._source.file(self._names[name])

    def get(self, name: str) -> Tensor:
        """Return one tensor as stored."""
        return self._source.get(self._names[name])


def aligned(base: TensorFolder, names: Sequence[str]) -> TensorFolder:
    """Return the base with the fine-tuned model's names, where its own differ by the wrapper around the decoder.

    Versions of transformers, a bare model and one with its head, and multimodal wrappers name the same blocks
    `model.layers.`, `layers.`, `language_model.model.layers.` or `model.language_model.layers.`.
    """
    found = {ours: theirs for theirs, ours in same_by_bare_name(base.names, names).items()}
    renamed = {found.get(name, name): name for name in base.names}
    return base if len(renamed) < len(base.names) or all(a == b for a, b in renamed.items()) else Renamed(base, renamed)


def check_same(base: TensorFolder, finetuned: TensorFolder, region: str) -> None:
    """Raise ModelError unless both models have parameters of the same names and shapes in `region`."""
    inside = rule(region)
    ours, theirs = ({n for n in folder.names if is_parameter(n) and inside(n)} for folder in (base, finetuned))
    for missing, there, absent in ((ours - theirs, base, finetuned), (theirs - ours, finetuned, base)):
        if missing:
            name = min(missing)
            remedy = "give the base model that was fine-tuned, both complete and of one architecture"
            if "lm_head" in name:
                remedy = "one model ties its embeddings and the other does not: save both the same way"
            elif "lora_" in name:
                remedy = "merge the adapter into its model first"
            elif "expert" in name:
                remedy = (
                    "one model keeps each expert by itself and the other those of a block in one tensor: load the "
                    "second in transformers and save it again (save_pretrained)"
                )
            raise ModelError(f"{absent.folder}: tensor {name!r} is missing, {there.folder} has it; {remedy}")
    for name in sorted(theirs):
        if base.shape(name) != finetuned.shape(name):
            raise ModelError(
                f"{finetuned.folder}: tensor {name!r} has shape {list(finetuned.shape(name))}, in the base "
                f"{base.folder} {list(base.shape(name))}; give the base model that was fine-tuned (and undo "
                "a resized vocabulary)"
            )


def check_values(folder: TensorFolder, name: str, stored: Tensor, casts: Iterable[Tensor]) -> None:
    """Raise ModelError when elements `stored` of a tensor hold NaN or Inf, or one of `casts` cannot hold them."""
    if not bool(stored.isfinite().all()):
        raise ModelError(
            f"{folder.folder}: tensor {name!r} holds NaN or Inf; the checkpoint is damaged or training "
            "diverged: fetch it again or train with a lower learning rate"
        )
    for cast in casts:
        if stored.dtype != cast.dtype and not bool(cast.isfinite().all()):
            dtype = str(cast.dtype).removeprefix("torch.")
            raise ModelError(
                f"{folder.folder}: tensor {name!r} has values beyond the range of {dtype}, "
                "in which they are compared; fine-tune in bfloat16 or float32"
            )
