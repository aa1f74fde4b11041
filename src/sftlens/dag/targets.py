"""The named figures and tables of a study, and the products that each is drawn from.

Each is registered by a file of `reporting/themes/`, which builds the numbers, draws them and says what they are.
Snakemake's targets, the command line and the page follow from what is registered. A choice of experiments for one run
(`--config only=scaling,restoration`) narrows what it asks for and nothing else: the study, its paths and jobs stay
those of the whole study, so that choosing otherwise reruns nothing.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from sftlens.config.study import Study
from sftlens.dag.cells import Product, distinct, number, products
from sftlens.dag.contrasts import ANSWERED
from sftlens.errors import ConfigError
from sftlens.registry import Registry, unknown
from sftlens.restoration.methods import ranking

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MASTERY, ANSWERS, EVERYTHING = "mastery of each model", "answers", "the whole study"
TRAINED, WATCHED = "trainings", "trainings that are asked facts meanwhile"
WHOLE = (MASTERY, ANSWERS, EVERYTHING, TRAINED, WATCHED)
"""What can be behind a target besides an experiment: every mastery table, every answer to a test question, or all;
every training, or every one where evaluation.during asks facts."""
_OF_THE_PAPER = re.compile(r"(fig|table)\d+")


@dataclass(frozen=True)
class Layout:
    """How a table is printed: columns of its frame that name a row, and what stands side by side."""

    rows: tuple[str, ...]
    """Columns that name a row, and order the rows; those that are the same in all rows are said once beside it."""
    across: tuple[str, ...] = ()
    """Columns whose values become groups of columns."""
    values: tuple[str, ...] = ()
    """Columns of numbers; empty: all."""


@dataclass(frozen=True)
class Chart:
    """A target's frame as a chart of the page that one can point at, by the names of columns.

    What remains of the columns that name a row, and has several values, becomes a choice beside the chart.
    """

    x: str
    y: str
    line: str
    """One line a value; none where `shade` is given."""
    panel: str = ""
    """One panel a value, side by side."""
    shade: str = ""
    """The number that shades the cells of a map of x by y; where it has an interval, only if that excludes zero."""
    frame: Callable[[pd.DataFrame], pd.DataFrame] | None = None
    """The target's frame -> that of the chart, which its figure draws too; None: the same."""
    words: str = ""
    """What stands below the chart besides the target's caption."""


@dataclass(frozen=True)
class Target:
    """One figure or table."""

    name: str
    place: float
    """Where it stands on the page: targets are in the order of this number, whatever their theme."""
    behind: str
    """The experiment of a study whose products it is made from, or several with `+` between them; or one of
    WHOLE."""
    title: str
    caption: str
    build: Callable[[Any], pd.DataFrame]
    """The tidy table (`from_answers`: the answers, and the table) -> a wide frame, see `results.collect.numbers`."""
    draw: Callable[[pd.DataFrame, str], Figure] | None = None
    """That frame and a notice -> the figure; None for a table."""
    folded: bool = False
    """Whether the page shows its rows only when they are unfolded."""
    shows: Callable[[Study, str], bool] | None = None
    """Whether it shows a model of the study; None: every model."""
    needs: str = ""
    """Those models in words, for a study that has none."""
    layout: Layout | None = None
    """How a table is printed (Markdown, LaTeX); None: as its frame is."""
    relations: bool = False
    """Whether `build` is given the rows of single relations too."""
    tints: str = ""
    """The target whose intervals say which gains of a table the page may tint; empty: none is."""
    chart: Chart | None = None
    """How the page shows a figure to those who can point at it; None: as the figure alone."""
    page: Callable[[pd.DataFrame], pd.DataFrame] | None = None
    """That frame -> what the page shows of it; None: all."""
    answers: bool = False
    """Whether it is made from the answers although an experiment is behind it."""
    says: Callable[[pd.DataFrame], str] | None = None
    """That frame -> sentences written from it, which stand beside its caption."""
    tabled: bool = False
    """Whether a figure's frame is written as a table, too."""
    part: str = ""
    """The part of the page that it stands in; empty: what its kind is shown in."""
    picks: Callable[[Study, Sequence[Product]], tuple[list[Product], list[str]]] | None = None
    """Which of the products behind it are shown, and what a study lacks for it, in words; None: all, and nothing."""

    @property
    def kind(self) -> Literal["figure", "table"]:
        return "figure" if self.draw else "table"

    @property
    def kinds(self) -> tuple[str, ...]:
        """What is written of it: `figure`, `table` or both."""
        return ("figure", "table") if self.draw and self.tabled else (self.kind,)

    @property
    def of_paper(self) -> bool:
        """Whether the paper has it, under the same number."""
        return bool(_OF_THE_PAPER.fullmatch(self.name))

    @property
    def from_answers(self) -> bool:
        """Whether it is made from answers to single questions or from single steps, not from the tidy table alone."""
        return self.answers or self.behind in (ANSWERS, EVERYTHING, TRAINED, WATCHED)


TARGETS: Registry[Target] = Registry("target", "sftlens.reporting.themes", key=lambda target: target.place)


def of_kind(kind: str) -> list[str]:
    """Return the names of the figures, or of the tables, in the order of the page."""
    return [target.name for target in TARGETS if kind in target.kinds]


def admitted(study: Study, asked: Sequence[Product]) -> dict[str, str]:
    """Return a regular expression for each wildcard of the rules that admits exactly the values of a study."""
    values: dict[str, Iterable[str]] = {
        "model": study.models,
        "criterion": [o for p in asked for o in (p.criterion, p.criterion and ranking(p.criterion))],
        "region": [product.region for product in asked],
        "ratio": [number(product.ratio) for product in asked if product.ratio is not None],
        "figure": of_kind("figure"),
        "table": of_kind("table"),
    }
    for name in ("train_set", "scale", "seed", "strategy"):
        values[name] = [str(getattr(product.cell, name)) for product in asked]
    chosen = {name: dict.fromkeys(filter(None, given)) for name, given in values.items()}
    hashes = {"key": "[0-9a-f]{10}", "choice": "[0-9a-f]{10}"}
    return hashes | {name: "|".join(map(re.escape, given)) or "(?!)" for name, given in chosen.items()}


def wanted(study: Study) -> dict[str, list[Product]]:
    """Return the products behind each figure and table that the study's grid has, in the order of the page."""
    found = _behind(study)
    behind: dict[str, list[Product]] = {}
    for target in TARGETS:
        parts = [found.get(name, []) for name in target.behind.split("+")]
        asked = list(dict.fromkeys(product for part in parts for product in part)) if all(parts) else []
        if target.shows:
            shown = {model for model in study.models if target.shows(study, model)}
            asked = [product for product in asked if product.cell.model in shown]
        if asked and target.picks:
            shown_of_them, lacking = target.picks(study, asked)
            asked = [] if lacking else shown_of_them
        if asked and target.behind not in WHOLE:
            # How many examples a cell really had stands in the summary of its training.
            cells = dict.fromkeys(product.cell for product in asked if product.cell.trained)
            asked = [*(Product("finetune", cell) for cell in cells), *asked]
        if asked:
            behind[target.name] = asked
    return behind


def _behind(study: Study) -> dict[str, list[Product]]:
    every = distinct(study)
    answered = [product for product in every if product.stage in ANSWERED]
    bases = [product for product in every if product.stage == "mastery"]
    found = {**products(study), MASTERY: bases}
    if answered:
        found |= {ANSWERS: [*bases, *answered], EVERYTHING: every}
    trained = [product for product in every if product.stage == "finetune"]
    return found | {TRAINED: trained, WATCHED: trained if study.evaluation.during else []}


def paper(study: Study) -> tuple[list[str], str]:
    """Return the paper's figures and tables that the study's grid has, and one line on those that it lacks ("": none).

    Raises ConfigError where it has none of them.
    """
    there = wanted(study)
    names = [target.name for target in TARGETS if target.of_paper]
    found = _behind(study)
    lacking = [f"{name} ({_lacks(study, name, found)})" for name in names if name not in there]
    line = f"not in the grid of study {study.study}: {', '.join(lacking)}" if lacking else ""
    if len(lacking) == len(names):
        raise ConfigError(line)
    return [name for name in names if name in there], line


def why_unknown(study: Study, name: str) -> str:
    """Return why nothing makes a file or target of this name: what the study lacks for it, or what there is instead."""
    if name in TARGETS.names():
        return f"study {study.study} has nothing to draw {name} from; {_lacks(study, name, _behind(study))}"
    return str(unknown("file or target", name, [*wanted(study), "paper", "all", "cells", "plan"]))


def _lacks(study: Study, name: str, found: dict[str, list[Product]]) -> str:
    target = TARGETS.get(name)
    lacking = [part for part in target.behind.split("+") if not found.get(part)]
    if target.picks and not lacking:
        return f"it lacks {', '.join(target.picks(study, found[target.behind])[1])}"
    if not lacking:
        return f"it shows {target.needs}; the study has {', '.join(study.models)}"
    if lacking == [WATCHED]:
        return "set evaluation.during"
    asked = "scaling" if lacking[0] in WHOLE else " and experiments.".join(lacking)
    return f"add experiments.{asked}"


@dataclass(frozen=True)
class Selection:
    """The experiments of a study that one run asks for."""

    study: Study
    experiments: tuple[str, ...]
    """Their names, in the order of the study."""

    @property
    def whole(self) -> bool:
        """Whether these are all experiments of the study."""
        return self.experiments == tuple(products(self.study))

    @cached_property
    def products(self) -> list[Product]:
        """Every product that they ask for once, training runs and mastery included."""
        return distinct(self.study, self.experiments)

    @cached_property
    def targets(self) -> dict[str, list[Product]]:
        """The figures and tables that can be drawn from nothing but these, with the products behind each."""
        found = set(self.products)
        return {name: asked for name, asked in wanted(self.study).items() if found.issuperset(asked)}


def select(study: Study, only: object = None) -> Selection:
    """Return the chosen experiments of a study; `only` is a list of names, or a text with commas; None: all.

    Raises ConfigError for a name that is none of the study's experiments.
    """
    has = list(products(study))
    if only is None:
        return Selection(study, tuple(has))
    parts = only if isinstance(only, Sequence) and not isinstance(only, str) else str(only).split(",")
    names = [name for part in parts if (name := str(part).strip())]
    if not names:
        raise ConfigError(f"only names no experiment; name some of {', '.join(has)} (only=A,B), or leave it out")
    known = list(type(study.experiments).model_fields)
    for name in (name for name in names if name not in has):
        near = [*difflib.get_close_matches(name, has, 1, 0.5), *difflib.get_close_matches(name, known, 1, 0.5)]
        why = f"there is no experiment {name!r}; " + (
            f"did you mean {near[0]!r}?" if near else f"the study has {', '.join(has)}"
        )
        if name in known:
            why = f"the study has no experiment {name!r}; add experiments.{name}, or choose from {', '.join(has)}"
        raise ConfigError(f"only={','.join(names)}: {why}")
    return Selection(study, tuple(name for name in has if name in names))
