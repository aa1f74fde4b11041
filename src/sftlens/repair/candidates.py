"""The settings that are tried: each criterion at each ratio."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from sftlens.config.repair import RepairSettings
from sftlens.config.stages.restoration import RestorationSettings
from sftlens.restoration import criteria, methods, reverted, topk
from sftlens.restoration.apply import Method, Restorer
from sftlens.restoration.cuts import Cut
from sftlens.restoration.pairs import Pair
from sftlens.restoration.reverted import Reverted


@dataclass(frozen=True)
class Candidate:
    """One setting."""

    criterion: str
    """One of `methods.choices`."""
    ratio: float
    """Percent of the region's parameters; of a matched method: whose sum of squared changes is reverted."""

    @property
    def name(self) -> str:
        """What it is called in files and on pages."""
        return f"{self.criterion} {self.ratio:g} %"


def listed(settings: RepairSettings) -> list[Candidate]:
    """Return all settings, by ratio, then in the sequence of `criteria`: what ties go by."""
    return [Candidate(criterion, ratio) for ratio in sorted(settings.ratios) for criterion in settings.criteria]


@dataclass(frozen=True)
class Methods:
    """What is done to a fine-tuned model in each setting; whatever takes a pass over the models is done once."""

    pair: Pair
    settings: RepairSettings
    _cuts: dict[str, dict[float, Cut]] = field(default_factory=dict)
    _reverted: dict[Candidate, Reverted] = field(default_factory=dict)

    @cached_property
    def restoration(self) -> RestorationSettings:
        """The settings of restoration that these imply."""
        return RestorationSettings(epsilon=self.settings.epsilon, seed=self.settings.seed)

    def of(self, candidate: Candidate) -> Method:
        """Return the restored model as a stream. Raises ModelError on NaN or Inf in the weights."""
        method, criterion = methods.chosen(candidate.criterion)
        restorer = self._restorer(criterion.name, candidate.ratio)
        return method.make(
            restorer, lambda: self.reverted(Candidate(criterion.name, candidate.ratio)), self.restoration
        )

    def reverted(self, candidate: Candidate) -> Reverted:
        """Return how much of the change a setting reverts. Raises ModelError on NaN or Inf in the weights."""
        if candidate not in self._reverted:
            self._reverted[candidate] = reverted.measure(self.of(candidate), self.settings.epsilon)
        return self._reverted[candidate]

    def _restorer(self, criterion: str, ratio: float) -> Restorer:
        ranking = criteria.make(criterion, self.restoration)
        if criterion not in self._cuts:
            self._cuts[criterion] = _selected(self.pair, ranking, self.settings.ratios)
        return Restorer(self.pair, ranking, self._cuts[criterion][ratio])


def _selected(pair: Pair, ranking: criteria.Criterion, ratios: Sequence[float]) -> dict[float, Cut]:
    return {cut.ratio: cut for cut in topk.select(pair, ranking, ratios)}
