"""Ranking criteria: which elements of an update are reverted first (paper section 6); one small file each.

A file of this package registers a `Criterion`; nothing else has to be edited: the configuration's choices, --help and
the schema come from the registry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sftlens.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from sftlens.config.stages.restoration import RestorationSettings

Keys = Callable[["RestorationSettings", str, "Tensor", "Tensor", int], "Tensor"]


@dataclass(frozen=True)
class Criterion:
    """Ranks elements without seeing the others, so that tensors can be read one piece at a time."""

    name: str
    description: str
    """One sentence, for --help, model cards and docs."""
    reference: str
    keys: Keys
    """(settings, name, p, s, start) -> keys: what calling does."""
    uses: tuple[str, ...] = ()
    """Fields of RestorationSettings that the keys depend on."""
    settings: RestorationSettings | None = None

    def __call__(self, name: str, p: Tensor, s: Tensor, start: int = 0) -> Tensor:
        """Return int32 keys >= 0, same shape as the 1-D `p`; larger keys are restored first.

        `p` (base) and `s` (fine-tuned) are elements start, start + 1, ... of the flattened tensor `name`, fp32 and
        finite. Both may be overwritten, and the keys may lie in their memory.
        """
        assert self.settings
        return self.keys(self.settings, name, p, s, start)


CRITERIA: Registry[Criterion] = Registry("ranking criterion", __name__, key=lambda c: (c.name != "relative", c.name))
"""The paper's first."""


def ranking() -> Any:
    """Return the module `restoration.ranking`, loaded when keys are made: criteria are listed where torch is not."""
    from sftlens.restoration import ranking

    return ranking


def make(name: str, settings: RestorationSettings) -> Criterion:
    """Return the criterion called `name`, ready to be called. Raises ConfigError for any other name."""
    return replace(CRITERIA.get(name), settings=settings)
