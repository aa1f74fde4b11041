"""A base model and a fine-tuned one side by side: checked, then read one piece of one tensor at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from sftlens.checkpoints import TensorFolder
from sftlens.errors import ModelError
from sftlens.restoration.regions import is_parameter, rule, select

FLOATS = ("BF16", "F16", "F32", "F64")
PIECE = 1 << 20
"""Elements of a piece; speed and memory only."""


@dataclass(frozen=True)
class Piece:
    """Elements start, start + 1, ... of one flattened tensor; `base` and `finetuned` are 1-D, of one dtype.

    `finetuned` is as stored, `base` as cast to the dtype of `finetuned` (see `Pair`).
    """

    name: str
    start: int
    base: Tensor
    finetuned: Tensor


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
        piece: int = PIECE,
        progress: Callable[[int], object] = lambda elements: None,
    ) -> None:
        """Check that the models fit together.

        Args:
            base: the pre-trained model.
            finetuned: the model that was fine-tuned from it.
            region: name of a region (`regions.select`).
            piece: elements read at a time; changes no result.
            progress: called with the number of elements after each piece.

        Raises:
            ModelError: names or shapes differ in the region, it holds something else than floating point
                numbers, or it is empty.
            ConfigError: there is no such region.
        """
        self.base = base
        self.finetuned = finetuned
        self.region = region
        self.names = sorted(select(finetuned.names, region))
        self.piece = piece
        self.progress = progress
        check_same(base, finetuned, region)
        check_floats(base, self.names)
        check_floats(finetuned, self.names)

    def elements(self) -> int:
        """Return the number of elements of the region."""
        return sum(self.size(name) for name in self.names)

    def size(self, name: str) -> int:
        """Return the number of elements of one tensor."""
        count = 1
        for length in self.finetuned.shape(name):
            count *= length
        return count

    def pieces(self) -> Iterator[Piece]:
        """Yield the region piece by piece, tensors as in `names`. Raises ModelError on NaN or Inf."""
        for name in self.names:
            yield from self.of(name, self.finetuned.get(name))

    def of(self, name: str, finetuned: Tensor) -> Iterator[Piece]:
        """Yield one tensor piece by piece, `finetuned` beside the base's. Raises ModelError on NaN or Inf."""
        flat = finetuned.reshape(-1)
        base = self.base.get(name).to(flat.device).reshape(-1)
        for start in range(0, flat.numel(), self.piece):
            stored = base[start : start + self.piece]
            piece = Piece(name, start, stored.to(flat.dtype), flat[start : start + self.piece])
            check_finite(self.base, name, stored)
            check_cast(self.base, name, stored, piece.base)
            check_finite(self.finetuned, name, piece.finetuned)
            yield piece
            self.progress(piece.base.numel())


def check_same(base: TensorFolder, finetuned: TensorFolder, region: str) -> None:
    """Raise ModelError unless both models have parameters of the same names and shapes in `region`."""
    inside = rule(region)
    ours, theirs = ({n for n in folder.names if is_parameter(n) and inside(n)} for folder in (base, finetuned))
    for missing, there, absent in ((ours - theirs, base, finetuned), (theirs - ours, finetuned, base)):
        if missing:
            raise ModelError(
                f"{absent.folder}: tensor {min(missing)!r} is missing, {there.folder} has it; {remedy(min(missing))}"
            )
    for name in sorted(theirs):
        if base.shape(name) != finetuned.shape(name):
            raise ModelError(
                f"{finetuned.folder}: tensor {name!r} has shape {list(finetuned.shape(name))}, in the base "
                f"{base.folder} {list(base.shape(name))}; give the base model that was fine-tuned (and undo "
                "a resized vocabulary)"
            )


def remedy(name: str) -> str:
    """Return what to do about a tensor that only one of the models has."""
    if "lm_head" in name:
        return "one model ties its embeddings and the other does not: save both the same way"
    if "lora_" in name:
        return "merge the adapter into its model first"
    return "give the base model that was fine-tuned, both complete and of one architecture"


def check_floats(folder: TensorFolder, names: list[str]) -> None:
    """Raise ModelError when a tensor of the region is quantised or no number with a fraction at all."""
    for name in names:
        if folder.dtype(name) not in FLOATS:
            raise ModelError(
                f"{folder.folder}: tensor {name!r} is {folder.dtype(name)}; restoration needs one of "
                f"{', '.join(FLOATS)}: give models that are not quantised"
            )


def check_finite(folder: TensorFolder, name: str, values: Tensor) -> None:
    """Raise ModelError when `values`, elements of the tensor `name`, hold NaN or Inf."""
    if not bool(values.isfinite().all()):
        raise ModelError(
            f"{folder.folder}: tensor {name!r} holds NaN or Inf; the checkpoint is damaged or training "
            "diverged: fetch it again or train with a lower learning rate"
        )


def check_cast(folder: TensorFolder, name: str, stored: Tensor, cast: Tensor) -> None:
    """Raise ModelError when finite elements `stored` of the base are beyond the range of the dtype of `cast`."""
    if stored.dtype != cast.dtype and not bool(cast.isfinite().all()):
        dtype = str(cast.dtype).removeprefix("torch.")
        raise ModelError(
            f"{folder.folder}: tensor {name!r} has values beyond the range of {dtype}, "
            "the type of the fine-tuned model; fine-tune in bfloat16 or float32"
        )
