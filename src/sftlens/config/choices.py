"""The choices of the configuration that come from registries, as types."""

from typing import TYPE_CHECKING, Literal

from sftlens.restoration import methods
from sftlens.restoration.criteria import CRITERIA

if TYPE_CHECKING:
    from typing import TypeAlias

    Ranking: TypeAlias = str
    Reverting: TypeAlias = str
else:
    Ranking = Literal[tuple(CRITERIA.names())]
    Reverting = Literal[tuple(methods.choices())]
