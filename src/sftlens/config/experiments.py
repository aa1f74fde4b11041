"""The experiments of a study, each with its own axes (paper sections 3 to 6; the readers' doubts: `sftlens.doubts`)."""

from typing import TYPE_CHECKING

from pydantic import Field, create_model

from sftlens.config.axes import Axes, Ranking, Ratios, Restoration
from sftlens.config.stages.mastery import QualitySettings
from sftlens.doubts import DOUBTS
from sftlens.settings import Settings
from sftlens.strategies import STRATEGIES


class _Strategies(Settings):
    """Settings of fine-tuning strategies, by their names."""


if TYPE_CHECKING:
    StrategySettings = _Strategies
else:
    OWN = {s.name: (s.settings_class, s.settings_class()) for s in STRATEGIES if s.settings_class.model_fields}
    StrategySettings = create_model("StrategySettings", __base__=_Strategies, __doc__=_Strategies.__doc__, **OWN)


class Scaling(Axes):
    """Accuracy against the number of training examples (Figs. 2, 4, 6; Table 2)."""

    base: bool = True
    """Also evaluate the base model: with the fine-tuning prompt, and with solved examples before it."""
    shots: int = Field(5, ge=0)
    """Solved examples of that few-shot baseline; 0 leaves it out."""


class Divergence(Axes):
    """KL divergence of the first predicted token (Fig. 5)."""

    base: bool = True
    """Also measure n = 0: the base model in the place of the fine-tuned one."""


class Strategies(Restoration):
    """Ways of fine-tuning at equal tuning budget: what each keeps, what it learns, its price (docs/strategies.md)."""

    ratios: Ratios = []
    """Settings of each post-hoc method in `criteria`, which are applied to `full` at `finetuning.learning_rate`; empty:
    none is. As many as learning rates make the budgets equal."""


class Concentration(Axes):
    """Share of the total relative change that few parameters hold (Table 3)."""

    criteria: list[Ranking] = ["relative"]
    """Measures of change."""
    regions: list[str] = ["transformer"]
    """Which parameters are counted: the same names."""


class Blocks(Axes):
    """Accuracy after restoring every parameter of a block of layers (Table 11)."""

    size: int = Field(4, ge=1)
    """Layers of a block."""


class MasteryQuality(QualitySettings):
    """How good the measurement of mastery is: certainty, test and retest, variance; in a world of ours, exposure."""

    models: list[str] = []
    """Names of models; empty: all models of the study."""


class _Experiments(Settings):
    """The named experiments; cells that several share run once."""

    mastery: MasteryQuality | None = None
    """How good the measurement of mastery is."""
    scaling: Scaling | None = None
    """Accuracy against the number of examples."""
    divergence: Divergence | None = None
    """KL divergence at the first predicted token."""
    restoration: Restoration | None = None
    """Restoring the most-changed parameters."""
    strategies: Strategies | None = None
    """Strategies and post-hoc methods compared."""
    concentration: Concentration | None = None
    """How concentrated the change is."""
    blocks: Blocks | None = None
    """Restoring blocks of layers."""


if TYPE_CHECKING:
    Experiments = _Experiments
else:
    ASKED = {d.name: (d.settings | None, Field(None, description=d.question)) for d in DOUBTS}
    Experiments = create_model("Experiments", __base__=_Experiments, __doc__=_Experiments.__doc__, **ASKED)
