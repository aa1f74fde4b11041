"""The axes that experiments share: what is trained, and what is restored of it."""

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, field_validator

from sftlens.gate import repeated
from sftlens.restoration import methods
from sftlens.restoration.criteria import CRITERIA
from sftlens.settings import Seed, Settings
from sftlens.strategies import DEFAULT, STRATEGIES

if TYPE_CHECKING:
    Ranking = str
    Reverting = str
    StrategyName = str
else:
    Ranking = Literal[tuple(CRITERIA.names())]
    Reverting = Literal[tuple(methods.choices())]
    StrategyName = Literal[tuple(STRATEGIES.names())]


TrainSet = Literal["D0", "D1", "D2", "D3", "D4", "mixed"] | str
Scale = int | Literal["all"]
Rate = Annotated[float, Field(gt=0)]
REGION = re.compile(r"transformer|attention|query_key|mlp|embedding|all|layers\d{1,4}-\d{1,4}|re:[^/\s{}]+")


def layers_of(region: str) -> range:
    """Layers of a region `layersA-B`, both ends included; none for any other region."""
    first, _, last = region.removeprefix("layers").partition("-")
    return range(int(first), int(last) + 1) if last else range(0)


def _distinct(values: list[Any]) -> list[Any]:
    if (twice := repeated(values)) is not None:
        raise ValueError(f"{twice!r} stands there twice; list every value once")
    return values


def _positive(values: list[Scale]) -> list[Scale]:
    if any(v != "all" and int(v) < 1 for v in values):
        raise ValueError("a scale is a positive number of examples or `all` (n = 0 is the key `base`)")
    return values


def _percent(values: list[float]) -> list[float]:
    if any(not 0 < v <= 100 for v in values):
        raise ValueError("a ratio is a percentage above 0 and at most 100 (k = 0 is the fine-tuned model itself)")
    return values


T = TypeVar("T")
Distinct = Annotated[list[T], AfterValidator(_distinct)]
"""A list that names nothing twice."""
Scales = Annotated[Distinct[Scale], AfterValidator(_positive)]
Seeds = Distinct[Seed]
Ratios = Annotated[Distinct[float], AfterValidator(_percent)]


class Axes(Settings):
    """What is trained: the axes that the experiments on fine-tuned models share."""

    models: Distinct[str] = []
    """Names of models; empty: all models of the study."""
    train_sets: Distinct[TrainSet] = ["D0", "D1", "D2", "D3", "D4"]
    """Mastery buckets to train on, `mixed` for all of them, or names of `recipes` and `tasks`."""
    scales: Scales = []
    """Numbers of training examples, or `all`; left out: those of the study."""
    seeds: Seeds = [0]
    """Training sets (and runs) of each numbered scale; left out: those of the study."""
    all_seeds: Seeds = [0]
    """Training sets of the scale `all` (the paper has one)."""
    strategies: Distinct[StrategyName] = [DEFAULT]
    """Ways of fine-tuning (docs/strategies.md); figures and tables show `full`."""
    learning_rates: Distinct[Rate] = []
    """Peak learning rates at which each of them is trained besides that of `finetuning`: cells `STRATEGY@RATE`."""


class Restoration(Axes):
    """Accuracy after restoring the most-changed parameters (Tables 4 and 6)."""

    ratios: Ratios = []
    """Percent of the region's parameters that are restored."""
    criteria: list[Reverting] = ["relative"]
    """How parameters are ranked; `relative` is the paper's. `interpolation` moves all of them towards the base instead,
    so that as much of the sum of squared changes is reverted as by `relative`. `spectral` and `module-wise` go that
    many percent of a way of their own (docs/strategies.md); each has a control. `sign-flip`, `equal-size`, `deletion`
    and `redrawn` are null controls."""
    regions: list[str] = ["transformer"]
    """Which parameters are ranked and restored: transformer, attention, mlp, embedding, all, layersA-B or query_key."""

    @field_validator("regions")
    @classmethod
    def _known(cls, values: list[str]) -> list[str]:
        for value in values:
            if not REGION.fullmatch(value):
                raise ValueError(
                    f"unknown region {value!r}; choose one of transformer, attention, mlp, embedding, all, "
                    "layersA-B (blocks of layers, such as layers0-3), query_key"
                )
            if value.startswith("layers") and len(layers_of(value)) == 0:
                raise ValueError(f"region {value!r} is empty; name the lower layer first")
        return values
