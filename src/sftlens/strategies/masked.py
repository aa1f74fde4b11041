"""Only elements outside of the set that restoring a pilot would revert are trained; and a random set as control."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator

from sftlens.config.stages.restoration import RestorationSettings
from sftlens.errors import ConfigError
from sftlens.registry import unknown
from sftlens.restoration import criteria
from sftlens.settings import Settings
from sftlens.strategies import STRATEGIES, Strategy
from sftlens.strategies.freeze import Region

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sftlens.config.stages.training import FinetuneSettings


class MaskedSettings(Settings):
    """Settings of masked: which elements keep their pre-trained values."""

    ratio: float = Field(20.0, ge=0, le=100)
    """Percent of the region's elements that are not trained."""
    region: Region = "transformer"
    """Parameters among which they are: a region of restorations; all others are trained."""
    criterion: str = "relative"
    """Ranking criterion of the pilot's update whose first elements they are."""
    seed: int = 0
    """Seed of the criterion `random`."""

    @field_validator("criterion")
    @classmethod
    def _ranks(cls, value: str) -> str:
        if value not in criteria.CRITERIA.names():
            raise ValueError(str(unknown("ranking criterion", value, criteria.CRITERIA.names())))
        return value


class Masked(Strategy):
    """Elements that restoring the pilot would revert (paper section 6) get no gradient, so AdamW leaves them alone.

    The pilot is the same training by full fine-tuning. What its restoration takes back afterwards, this never changes.
    """

    name = "masked"
    description = "Only elements outside of those that restoring a fully fine-tuned pilot would revert"
    reference = "arXiv 2509.16596, section 6, turned round"
    settings_class: ClassVar[type[Settings]] = MaskedSettings
    inputs: ClassVar[tuple[str, ...]] = ("pilot",)
    pilot = {"strategy": "full"}
    bytes_own = 1.0

    def check(self, recipe: FinetuneSettings, train_set: str = "") -> None:
        """Raise ConfigError where the recipe changes elements that have no gradient."""
        if recipe.weight_decay:
            raise ConfigError(
                f"finetuning.weight_decay: {recipe.weight_decay:g} would shrink the elements that strategy {self.name} "
                "keeps; set it to 0, or use another strategy"
            )

    def prepare(self, model: nn.Module) -> None:
        """Let no gradient reach the elements; one byte a parameter of the region is kept in every process.

        Raises ModelError where the pilot was not fine-tuned from the base, ConfigError for an unknown region.
        """
        import torch

        from sftlens.models.delta.reader import open_tensors
        from sftlens.restoration import topk
        from sftlens.restoration.pairs import Pair

        second = self.given.get("pilot", self.given["model"])
        pair = Pair(open_tensors(self.given["model"]), open_tensors(second), self.settings.region)
        criterion = criteria.make(self.settings.criterion, RestorationSettings(seed=self.settings.seed))
        [cut] = topk.select(pair, criterion, [self.settings.ratio])
        weights = dict(model.named_parameters(remove_duplicate=False))  # a tied tensor may be stored by either name
        for name in pair.names:
            pieces = pair.of(name, pair.finetuned.get(name))
            masks = [cut.mask(name, topk.keys_of(criterion, piece), piece.start) for piece in pieces]
            weights[name].register_hook(self._hook(torch.cat(masks).view(pair.finetuned.shape(name))))

    def _hook(self, mask: Tensor) -> object:
        import torch

        from sftlens.restoration.cuts import BITS

        # Ones in every bit of what is trained: `&` takes a tenth of the time of masked_fill, with as much memory.
        trained = mask.to(torch.int8) - 1
        moved: dict[object, Tensor] = {}

        def without(gradient: Tensor) -> Tensor:
            if gradient.device not in moved:
                moved[gradient.device] = trained.to(gradient.device)
            bits = gradient.view(BITS[gradient.element_size()])
            return (bits & moved[gradient.device]).view(gradient.dtype)

        return without


STRATEGIES.add(Masked)


class MaskedRandomSettings(Settings):
    """Settings of masked-random: how many elements keep their pre-trained values."""

    ratio: float = Field(20.0, ge=0, le=100)
    """Percent of the region's elements that are not trained; the same number as `masked` at this ratio."""
    region: Region = "transformer"
    """Parameters among which they are: a region of restorations; all others are trained."""
    seed: int = 0
    """Seed of the draw."""

    @property
    def criterion(self) -> str:
        """The ranking criterion."""
        return "random"


class MaskedRandom(Masked):
    """The mask of `masked`, by the criterion `random`; no pilot is needed."""

    name = "masked-random"
    description = "Only elements outside of a random set as large as that of `masked`, its control"
    reference = "the control of masked"
    settings_class = MaskedRandomSettings
    inputs = ()
    pilot = {}


STRATEGIES.add(MaskedRandom)
