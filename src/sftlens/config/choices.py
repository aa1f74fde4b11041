"""The choices of the configuration that come from registries, as types."""

from typing import TYPE_CHECKING, Literal

from pydantic import create_model

from sftlens.restoration import methods
from sftlens.restoration.criteria import CRITERIA
from sftlens.settings import Settings
from sftlens.strategies import STRATEGIES

if TYPE_CHECKING:
    from typing import TypeAlias

    Ranking: TypeAlias = str
    Reverting: TypeAlias = str
    StrategyName: TypeAlias = str
else:
    Ranking = Literal[tuple(CRITERIA.names())]
    Reverting = Literal[tuple(methods.choices())]
    StrategyName = Literal[tuple(STRATEGIES.names())]


class _Strategies(Settings):
    """Settings of fine-tuning strategies, by their names."""


if TYPE_CHECKING:
    StrategySettings = _Strategies
else:
    OWN = {s.name: (s.settings_class, s.settings_class()) for s in STRATEGIES if s.settings_class.model_fields}
    StrategySettings = create_model("StrategySettings", __base__=_Strategies, __doc__=_Strategies.__doc__, **OWN)
