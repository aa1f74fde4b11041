"""The settings that are tried: each order at each ratio, and `shrink` as their control."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from sftlens.config.repair import RepairSettings
from sftlens.config.restoration import RestorationSettings
from sftlens.restoration import criteria, interpolation, reverted, topk
from sftlens.restoration.apply import Method, Restorer
from sftlens.restoration.cuts import Cut
from sftlens.restoration.pairs import Pair
from sftlens.restoration.reverted import Undone


@dataclass(frozen=True)
class Candidate:
    """One setting."""

    order: str
    """`relative`, `absolute` or `shrink`."""
    ratio: float
    """Percent of the region's parameters; of `shrink`: whose sum of squared changes is undone."""

    @property
    def name(self) -> str:
        """What it is called in files and on pages."""
        return f"{self.order} {self.ratio:g} %"


def listed(settings: RepairSettings) -> list[Candidate]:
    """Return all settings, by ratio, then in the sequence of the orders: what ties go by."""
    return [Candidate(order, ratio) for ratio in sorted(settings.ratios) for order in settings.orders]


@dataclass(frozen=True)
class Methods:
    """What is done to a fine-tuned model in each setting; whatever takes a pass over the models is done once."""

    pair: Pair
    settings: RepairSettings
    _cuts: dict[str, dict[float, Cut]] = field(default_factory=dict)
    _undone: dict[Candidate, Undone] = field(default_factory=dict)

    @cached_property
    def restoration(self) -> RestorationSettings:
        """The settings of restoration that these imply."""
        return RestorationSettings(epsilon=self.settings.epsilon, seed=self.settings.seed)

    def of(self, candidate: Candidate) -> Method:
        """Return the restored model as a stream. Raises ModelError on NaN or Inf in the weights."""
        if candidate.order != interpolation.NAME:
            return self._restorer(candidate.order, candidate.ratio)
        equal = self.undone(Candidate(interpolation.EQUAL_TO, candidate.ratio))
        return interpolation.Shrinker(self.pair, interpolation.factor(self.pair, equal), self.settings.seed)

    def undone(self, candidate: Candidate) -> Undone:
        """Return how much of the change a setting undoes. Raises ModelError on NaN or Inf in the weights."""
        if candidate not in self._undone:
            self._undone[candidate] = reverted.measure(self.of(candidate), self.settings.epsilon)
        return self._undone[candidate]

    def _restorer(self, order: str, ratio: float) -> Restorer:
        ranking = criteria.make(order, self.restoration)
        if order not in self._cuts:
            self._cuts[order] = _selected(self.pair, ranking, self.settings.ratios)
        return Restorer(self.pair, ranking, self._cuts[order][ratio])


def _selected(pair: Pair, ranking: criteria.Order, ratios: Sequence[float]) -> dict[float, Cut]:
    return {cut.ratio: cut for cut in topk.select(pair, ranking, ratios)}
