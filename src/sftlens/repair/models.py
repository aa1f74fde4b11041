"""The models of one repair, one in memory at a time: the base, the fine-tuned model, and each setting that is tried."""

import gc
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sftlens.config.repair import RepairSettings
from sftlens.config.stages.restoration import RestorationSettings
from sftlens.errors import ModelError
from sftlens.models import checkpoints, identity
from sftlens.models.delta.reader import open_tensors
from sftlens.restoration import apply, criteria, low_rank, methods, topk
from sftlens.restoration.apply import Method, Restorer, Reverted
from sftlens.restoration.cuts import NOTHING, Cut
from sftlens.restoration.low_rank import LowRank
from sftlens.restoration.pairs import Pair

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BASE, FINETUNED = "base", "fine-tuned"
TRANSFORMER, BLOCKS = "transformer", "blocks"
"""The region that needs no mention in a name; and the word for QUARTERS ranges of blocks, each a region."""
QUARTERS = 4
FIRST = 64
"""Elements of each tensor that are compared before whole tensors are: a fine-tuning changes some of them."""


@dataclass(frozen=True)
class Candidate:
    """One setting: a criterion at a ratio, in a region."""

    criterion: str
    """One of `methods.choices`."""
    ratio: float
    """Percent of the region's parameters; of a matched method: whose sum of squared changes is reverted."""
    region: str = TRANSFORMER
    """Which parameters are ranked and restored (`regions.rule`)."""
    rank: int = 0
    """Rank of the adapter that stands for the restored model; 0: that model itself."""

    @property
    def name(self) -> str:
        """What it is called in files and on pages."""
        text = f"{self.criterion} {self.ratio:g} %" + ("" if self.region == TRANSFORMER else f" of {self.region}")
        return f"{text}, adapter of rank {self.rank}" if self.rank else text


ModelKey = str | Candidate
"""BASE, FINETUNED, or the setting that a restored model is made with."""


def candidates(settings: RepairSettings, layers: int = QUARTERS) -> list[Candidate]:
    """Return all settings for a model of `layers` blocks: by ratio, then criterion, then region as they are listed.

    This is the order in which ties are decided.
    """
    size = -(-layers // QUARTERS)
    quarters = [f"layers{first}-{min(first + size, layers) - 1}" for first in range(0, layers, size)]
    listed = [name for region in settings.regions for name in (quarters if region == BLOCKS else [region])]
    places = product(sorted(settings.ratios), settings.criteria, dict.fromkeys(listed))
    return [Candidate(criterion, ratio, region) for ratio, criterion, region in places]


def label(key: ModelKey) -> str:
    """Return what a model is called in tables and messages."""
    return key.name if isinstance(key, Candidate) else key


def same_weights(first: Path, second: Path) -> bool:
    """Whether two model folders hold the same tensors, however they are spread over files. Raises ModelError."""
    left, right = open_tensors(first), open_tensors(second)
    if set(left.names) != set(right.names):
        return False
    for most in (FIRST, None):
        for name in left.names:
            if left.shape(name) != right.shape(name) or left.dtype(name) != right.dtype(name):
                return False
            if not torch.equal(*(side.get(name).reshape(-1)[:most] for side in (left, right))):
                return False
    return True


class RepairModels:
    """Loads the base or the fine-tuned model, and makes restored ones of it, which are never written.

    The fine-tuned model is loaded once for all settings: the tensors of each are streamed into it, in place. Whatever
    takes a pass over both models, such as the cuts of a criterion, is computed once.
    """

    def __init__(
        self, base: Path, finetuned: Path, settings: RepairSettings, device: str | None, compute: str = "stored"
    ) -> None:
        """Check that the models are of one kind. Raises ModelError.

        All compute on `device`, in the type `compute` (`checkpoints.load_model`).
        """
        self.given = {BASE: base, FINETUNED: finetuned}
        self.folders = {BASE: identity.resolve(base), FINETUNED: identity.resolve(finetuned)}
        self._configs = [checkpoints.read_config(folder) for folder in self.folders.values()]
        kinds = [config.model_type for config in self._configs]
        if kinds[0] != kinds[1]:
            raise ModelError(
                f"{self.folders[FINETUNED]}/config.json: model_type is {kinds[1]!r}, that of the base "
                f"{self.folders[BASE]} is {kinds[0]!r}; give the base model that was fine-tuned"
            )
        self._tensors = open_tensors(self.folders[BASE]), open_tensors(self.folders[FINETUNED])
        self.settings = settings
        self.candidates = candidates(settings, self._configs[1].get_text_config().num_hidden_layers)
        self.pair = cache(partial(Pair, *self._tensors))
        self._restoration = RestorationSettings(epsilon=settings.epsilon, seed=settings.seed)
        self.tokenizer, self.reverted = cache(self._tokenizer), cache(self._reverted)
        self.adapter = cache(self._adapter)
        self._cuts = cache(self._select)
        self.compute, self._device = compute, device
        self._held: tuple[ModelKey, PreTrainedModel] | None = None
        self._changed: set[str] = set()

    def check(self) -> None:
        """Check that every setting can be made of the two models, and stored. Raises ModelError."""
        for candidate in self.candidates:
            self.pair(candidate.region)
            for name in (candidate.criterion, methods.chosen(candidate.criterion)[0].matched):
                if name and methods.chosen(name)[0].own:  # such a method may need modules that the region lacks
                    self.restored(replace(candidate, criterion=name))
        if self.settings.save_as == "adapter":
            low_rank.check(*self._tensors)

    def get(self, key: ModelKey) -> "PreTrainedModel":
        """Return a model; the one that was returned before is let go, or becomes this one."""
        if self._held and self._held[0] == key:
            return self._held[1]
        held, self._held = self._held, None
        method: Method | LowRank | None = None
        if isinstance(key, Candidate):
            method = self.adapter(key) if key.rank else self.restored(key)
        if held and BASE not in (held[0], key) and self._put_into(held[1], method):
            self._held = key, held[1]
        else:
            held = None  # before the next one is loaded: two would not fit
            gc.collect()  # a model refers to itself in circles
            folder = self.folders[FINETUNED if isinstance(key, Candidate) else key]
            how: dict[str, Any] = {"device": self._device, "compute": self.compute}
            self._held = key, checkpoints.load_model(folder, transform=method, **how)
        self._changed = {name for name in self._tensors[1].names if method and method.changes(name)}
        return self._held[1]

    def _put_into(self, model: "PreTrainedModel", method: Method | LowRank | None) -> bool:
        """Make a loaded fine-tuned or restored model what `method` makes, None: the fine-tuned one, bit for bit.

        False, and nothing is done, where a parameter of the model is not one tensor of the checkpoint under its name.
        """
        names = [name for name in self._tensors[1].names if name in self._changed or (method and method.changes(name))]
        parameters = dict(model.named_parameters(remove_duplicate=False))
        for name in names:
            fits = name in parameters and tuple(parameters[name].shape) == self._tensors[1].shape(name)
            if not fits or parameters[name].is_meta:
                return False
        with torch.no_grad():
            for name in names:
                tensor = self._tensors[1].get(name)
                parameters[name].copy_(method(name, tensor) if method and method.changes(name) else tensor)
        return True

    def vocabulary(self) -> int:
        """Return the number of tokens that both models have."""
        return min(config.get_text_config().vocab_size for config in self._configs)

    def restored(self, candidate: Candidate) -> Method:
        """Return the restored model as a stream. Raises ModelError on NaN or Inf in the weights."""
        method, criterion = methods.chosen(candidate.criterion)
        if method.ranked:
            ranking, cuts = self._cuts(criterion.name, candidate.region)
            cut = cuts[candidate.ratio]
        else:  # a restoration of nothing, which holds the models and k
            ranking, cut = criterion, Cut(candidate.ratio, 0, NOTHING)
        restorer = Restorer(self.pair(candidate.region), ranking, cut)
        matched = replace(candidate, criterion=method.matched or criterion.name)
        return method.make(restorer, lambda: self.reverted(matched), self._restoration)

    def _adapter(self, candidate: Candidate) -> LowRank:
        """Return the restored model as an adapter of the base of the candidate's rank. Raises ModelError."""
        return LowRank(self.restored(replace(candidate, rank=0)), candidate.rank)

    def _reverted(self, candidate: Candidate) -> Reverted:
        """Return how much of the update a setting reverts. Raises ModelError on NaN or Inf in the weights."""
        return apply.reverted(self.restored(candidate), self.settings.epsilon)

    def _select(self, criterion: str, region: str) -> tuple[criteria.Criterion, dict[float, Cut]]:
        ranking = criteria.make(criterion, self._restoration)
        return ranking, {cut.ratio: cut for cut in topk.select(self.pair(region), ranking, self.settings.ratios)}

    def _tokenizer(self, key: ModelKey) -> "PreTrainedTokenizerBase":
        return checkpoints.load_tokenizer(self.folders[BASE if key == BASE else FINETUNED], "own")
