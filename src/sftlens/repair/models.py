"""The models of one repair, one in memory at a time: the base, the fine-tuned model, and each setting that is tried."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftlens.config.repair import RepairSettings
from sftlens.config.stages.restoration import RestorationSettings
from sftlens.errors import ModelError
from sftlens.models import checkpoints, identity
from sftlens.models.delta.reader import open_tensors
from sftlens.restoration import apply, criteria, methods, topk
from sftlens.restoration.apply import Method, Restorer, Reverted
from sftlens.restoration.cuts import Cut
from sftlens.restoration.pairs import Pair

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BASE, FINETUNED = "base", "fine-tuned"


@dataclass(frozen=True)
class Candidate:
    """One setting: a criterion at a ratio."""

    criterion: str
    """One of `methods.choices`."""
    ratio: float
    """Percent of the region's parameters; of a matched method: whose sum of squared changes is reverted."""

    @property
    def name(self) -> str:
        """What it is called in files and on pages."""
        return f"{self.criterion} {self.ratio:g} %"


ModelKey = str | Candidate
"""BASE, FINETUNED, or the setting that a restored model is made with."""


def candidates(settings: RepairSettings) -> list[Candidate]:
    """Return all settings, by ratio, then in the sequence of `criteria`: the order in which ties are decided."""
    return [Candidate(criterion, ratio) for ratio in sorted(settings.ratios) for criterion in settings.criteria]


def label(key: ModelKey) -> str:
    """Return what a model is called in tables and messages."""
    return key.name if isinstance(key, Candidate) else key


class RepairModels:
    """Loads the base, the fine-tuned model, or a restored one, which is streamed into memory and never written.

    Whatever takes a pass over both models, such as the cuts of a criterion, is computed once.
    """

    def __init__(self, base: Path, finetuned: Path, settings: RepairSettings, device: str | None) -> None:
        """Check that the models fit together. Raises ModelError, ConfigError (region)."""
        self.folders = {BASE: identity.resolve(base), FINETUNED: identity.resolve(finetuned)}
        self._configs = [checkpoints.read_config(folder) for folder in self.folders.values()]
        kinds = [config.model_type for config in self._configs]
        if kinds[0] != kinds[1]:
            raise ModelError(
                f"{self.folders[FINETUNED]}/config.json: model_type is {kinds[1]!r}, that of the base "
                f"{self.folders[BASE]} is {kinds[0]!r}; give the base model that was fine-tuned"
            )
        tensors = [open_tensors(folder) for folder in self.folders.values()]
        self.pair = Pair(tensors[0], tensors[1], settings.region)
        self.settings = settings
        self._restoration = RestorationSettings(epsilon=settings.epsilon, seed=settings.seed)
        self.tokenizer, self.reverted = cache(self._tokenizer), cache(self._reverted)
        self._cuts = cache(self._select)
        self._device = device
        self._held: tuple[ModelKey, PreTrainedModel] | None = None

    def get(self, key: ModelKey) -> "PreTrainedModel":
        """Return a model; the one that was held before is let go first."""
        if self._held is None or self._held[0] != key:
            self._held = None
            method: Callable[..., Any] | None = self.restored(key) if isinstance(key, Candidate) else None
            folder = self.folders[FINETUNED if isinstance(key, Candidate) else key]
            self._held = key, checkpoints.load_model(folder, device=self._device, transform=method)
        return self._held[1]

    def vocabulary(self) -> int:
        """Return the number of tokens that both models have."""
        return min(config.get_text_config().vocab_size for config in self._configs)

    def restored(self, candidate: Candidate) -> Method:
        """Return the restored model as a stream. Raises ModelError on NaN or Inf in the weights."""
        method, criterion = methods.chosen(candidate.criterion)
        ranking, cut = self._cuts(criterion.name)
        restorer = Restorer(self.pair, ranking, cut[candidate.ratio])
        matched = Candidate(criterion.name, candidate.ratio)
        return method.make(restorer, lambda: self.reverted(matched), self._restoration)

    def _reverted(self, candidate: Candidate) -> Reverted:
        """Return how much of the update a setting reverts. Raises ModelError on NaN or Inf in the weights."""
        return apply.reverted(self.restored(candidate), self.settings.epsilon)

    def _select(self, criterion: str) -> tuple[criteria.Criterion, dict[float, Cut]]:
        ranking = criteria.make(criterion, self._restoration)
        return ranking, {cut.ratio: cut for cut in topk.select(self.pair, ranking, self.settings.ratios)}

    def _tokenizer(self, key: ModelKey) -> "PreTrainedTokenizerBase":
        return checkpoints.load_tokenizer(self.folders[BASE if key == BASE else FINETUNED], "own")
