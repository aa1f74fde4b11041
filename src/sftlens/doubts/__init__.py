"""The doubts of the study's readers as experiments, one small file each (docs/doubts.md).

A file of this package registers a `Doubt`. From it follow `experiments.NAME` of the configuration, Snakemake's target
NAME (a figure, a table, a sentence), its section of the report, and `sftlens worlds --experiment NAME`. Its cells are
trained and asked by the stages there are; `measure` compares what they left.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from pydantic import Field, model_validator

from sftlens.config.axes import Axes, Distinct, Restoration, TrainSet
from sftlens.registry import Registry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sftlens.statistics.crossed import Estimate

Answers: TypeAlias = Any
"""The `results.answers.Answers` of the experiment's products, its tidy table and the summaries of its trainings."""
Condition: TypeAlias = Any
"""A `dag.contrasts.Condition` of these answers: a cell, perhaps restored, but for its seed."""
Row: TypeAlias = Mapping[str, Any]
"""A number of an experiment, under COLUMNS."""
COLUMNS = ("Model", "Quantity", "Series", "X", "Estimate", "Low", "High", "Scope")
TESTS = {"test": "ID test", "testood": "OOD test"}
ACCURACY = "Accuracy (%)"


@dataclass(frozen=True)
class Doubt:
    """One experiment. Its sentence reads: `outcome` is higher `condition` than `reference`.

    In these three `{k}` stands for the X of the row that the sentence is about, `{first}` and `{last}` for the two
    sides of its Series, `D0 minus D4`.
    """

    name: str
    place: int
    """Where it stands among the others."""
    question: str
    """What a reader asks, in one line."""
    outcome: str
    condition: str
    reference: str
    limit: str
    """What it cannot say: one or two honest sentences."""
    settings: type[Axes]
    """Its axes, all with defaults and docstrings."""
    measure: Callable[[Answers], list[Row]]
    """The answers of one study -> its rows, model by model; the first row of a model is the one that the sentence is
    about. NaN where nothing was measured."""
    stages: tuple[str, ...] = ("evaluate",)
    """What is measured of the base model and of each cell, besides the ratios of `settings` that are restored."""
    check: Callable[[Any, Any], None] | None = None
    """The study and these axes -> ValueError where the sentence would have nothing to compare; None: nothing to ask."""
    of_model: str = ""
    """A stage that runs once for each model, over all its cells; empty: none."""
    unit: str = "points"
    """Of the difference."""
    pretrained_only: str = ""
    """Why it needs a model that is pretrained here, in a sentence; empty: it runs on any model."""


DOUBTS: Registry[Doubt] = Registry("experiment", __name__, key=lambda doubt: doubt.place)


def sentence(doubt: Doubt, row: Row) -> str:
    """Return what a row says of an experiment's question: higher, lower, or undecided where its interval includes 0."""
    estimate, low, high = (float(row[name]) for name in ("Estimate", "Low", "High"))
    first, _, last = row["Series"].partition(" minus ")
    of, condition, reference = (
        text.format(k=row["X"], first=first, last=last) for text in (doubt.outcome, doubt.condition, doubt.reference)
    )
    if estimate != estimate:
        return f"Undecided: nothing was measured of {of} {condition}."
    form = ".1f" if doubt.unit == "points" else ".3g"
    interval = "no interval" if low != low else f"{low:{form}} to {high:{form}}, 95 % interval, {row['Scope']}"
    size = f"{estimate:+{form}} {doubt.unit} ({interval})"
    if low > 0 or high < 0:
        return f"{of[0].upper()}{of[1:]} is {'higher' if low > 0 else 'lower'} {condition} than {reference}: {size}."
    return f"Undecided: {of} {condition} minus that {reference} is {size}."


def contrast(
    answers: Answers,
    one: Condition,
    reference: Condition | None,
    split: str | Sequence[str],
    inside: NDArray[Any] | None = None,
) -> Estimate:
    """Return the accuracy of a condition minus that of a reference in points (None: its accuracy in percent).

    Macro over the five buckets of the questions of a split, or of several; with `inside`, bool [questions] of these
    splits one after another, the plain mean of the questions inside. Paired on seeds, of which a base model has none,
    and on questions (`statistics.crossed`). NaN without answers.
    """
    import numpy as np

    from sftlens.statistics import crossed

    splits = [split] if isinstance(split, str) else list(split)
    parts = [changes(answers, one, reference, name) for name in splits]
    paired = [np.concatenate([part[seed] for part in parts]) for seed in parts[0]]
    buckets = np.concatenate([answers.questions(one.model, name).buckets for name in splits])
    y = np.stack(paired) if paired else np.full((1, len(buckets)), np.nan)
    return crossed.accuracy(y, buckets) if inside is None else crossed.mean(y[:, inside])


def changes(answers: Answers, one: Condition, reference: Condition | None, split: str) -> dict[int, NDArray[Any]]:
    """Return by seed the answers of a condition minus those of a reference (None: 0), points [questions] of a split.

    Of seeds that both have; a base model, which has seed 0 alone, is the reference of every seed.
    """
    own = {seed: 100.0 * y for seed, y in answers.contains(one, split).items()}
    if reference is None:
        return own
    other = answers.contains(reference, split)
    seeds = {seed: seed if reference.trained else 0 for seed in own}
    return {seed: own[seed] - 100.0 * other[its] for seed, its in seeds.items() if its in other}


def over_seeds(values: Iterable[float]) -> Estimate:
    """Return the mean of one number a seed with its t interval; with fewer than three seeds it has none.

    A seed that has no number (NaN) is left out; the mean of none is NaN.
    """
    import math

    from sftlens.statistics import crossed, intervals

    known = [float(value) for value in values if not math.isnan(value)]
    value, low, high = intervals.mean(known or [math.nan])
    if low is None or high is None or len(known) < crossed.MIN_SEEDS:
        low = high = math.nan
    return crossed.Estimate(value, math.nan, math.nan, low, high, seeds=len(known), questions=0)


def row(model: str, quantity: str, series: str, x: object, found: Estimate) -> Row:
    """Return an estimate as a row."""
    values = (model, quantity, series, str(x), found.value, found.low, found.high, found.scope)
    return dict(zip(COLUMNS, values, strict=True))


def size(scale: str) -> float:
    """Return n as a number; `all` is larger than any."""
    return float("inf") if scale == "all" else int(scale)


def largest(conditions: Iterable[Condition], model: str) -> str:
    """Return the largest n that a model was trained with, as text; "0" where it was not trained."""
    scales = {one.scale for one in conditions if one.model == model and one.trained}
    return max(scales, key=size, default="0")


def base(conditions: Iterable[Condition], model: str) -> Condition | None:
    """Return the condition of a base model, where it is among them."""
    return next((one for one in conditions if one.model == model and not one.trained), None)


def ends(conditions: Collection[Condition], model: str, train_set: str) -> tuple[Condition, Condition] | None:
    """Return the smallest n of a training set (the base, where there is one n) and the model's largest, unrestored.

    None where the training set has no such n, or the base is not among the conditions.
    """
    grid, n = list(conditions), largest(conditions, model)
    own = {one.scale: one for one in grid if (one.model, one.train_set, one.ratio) == (model, train_set, None)}
    smallest = min((scale for scale in own if scale != n), key=size, default="")
    first = own[smallest] if smallest else base(grid, model)
    return (first, own[n]) if first and n in own else None


class Pair(Axes):
    """Two training sets that are compared at equal n."""

    train_sets: Distinct[TrainSet] = Field([], validate_default=True)
    """The two."""

    @model_validator(mode="after")
    def _two(self) -> Self:
        if len(self.train_sets) != 2:
            raise ValueError("train_sets names two training sets, which are compared at the largest n; name two")
        return self


RESTORED = "relative"
"""The criterion that sentences on restoring are about."""


class Restored(Restoration):
    """Training sets of which k % is restored by `relative`, in the first of the regions."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if RESTORED not in self.criteria:
            raise ValueError(f"criteria lacks `{RESTORED}`, which the experiment is about; add it")
        if not self.ratios:
            raise ValueError("ratios is empty; name the percent that is restored")
        return self


def compared(answers: Answers, name: str) -> list[Row]:
    """Return the first training set of an experiment on a `Pair` minus the second at the largest n, then both by n."""
    study, rows = answers.paths.study, []
    first, second = getattr(study.experiments, name).train_sets
    for model in study.models:
        n = largest(answers.grid, model)
        cells = {(one.train_set, one.scale): one for one in answers.grid if one.model == model}
        if (first, n) not in cells:
            continue
        for split, test in TESTS.items():
            found = contrast(answers, cells[first, n], cells[second, n], split)
            rows.append(row(model, f"{first} minus {second} (points), by n", test, n, found))
        for split, test in TESTS.items():
            for (train_set, scale), one in cells.items():
                series = f"{test}, {train_set}" if one.trained else f"{test}, base model"
                rows.append(row(model, f"{ACCURACY}, by n", series, scale, contrast(answers, one, None, split)))
    return rows
