"""The named figures and tables of a study, and the products that each is drawn from.

Each is registered by a file of `reporting/themes/`, which builds the numbers, draws them and says what they are.
Snakemake's targets, the command line and the page follow from what is registered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sftlens.config.study import Study
from sftlens.dag.cells import Product, distinct, products, way
from sftlens.dag.contrasts import ANSWERED
from sftlens.registry import Registry, unknown
from sftlens.strategies import DEFAULT, STRATEGIES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MASTERY, ANSWERS, EVERYTHING = "mastery of each model", "answers", "the whole study"
"""What can be behind a target besides an experiment: every mastery table, every answer to a test question, or all."""


@dataclass(frozen=True)
class Target:
    """One figure or table."""

    name: str
    place: float
    """Where it stands on the page: targets are in the order of this number, whatever their theme."""
    behind: str
    """The experiment of a study whose products it is made from; or MASTERY, ANSWERS or EVERYTHING."""
    title: str
    caption: str
    build: Callable[[Any], pd.DataFrame]
    """The tidy table (`from_answers`: the answers, and the table with them) -> a wide frame, see `numbers`."""
    draw: Callable[[pd.DataFrame, str], Figure] | None = None
    """That frame and a notice -> the figure; None for a table."""
    folded: bool = False
    """Whether the page shows its rows only when they are unfolded."""
    pretrained_only: bool = False
    """Whether it needs models that were pretrained here."""

    @property
    def kind(self) -> Literal["figure", "table"]:
        """Which of the two it is."""
        return "figure" if self.draw else "table"

    @property
    def from_answers(self) -> bool:
        """Whether it is made from the answers to single questions, and not from the tidy table alone."""
        return self.behind in (ANSWERS, EVERYTHING)

    def numbers(self, source: Any) -> pd.DataFrame:
        """Return the target as a wide frame with one header row and no index of its own.

        Args:
            source: the tidy table of a study, one row per number, which may be incomplete; `from_answers` the
                `results.answers.Answers` of a study.

        Returns:
            Text columns that name a row, then numbers: accuracies and shares in percent, KL in nats; after a column
            `X` its `X SD` (over seeds, n - 1 in the denominator) or `X gain` (points). NaN where nothing was measured;
            no rows where the study has nothing for this target yet.
        """
        if self.from_answers:
            return self.build(source)
        # Rows of single relations are for readers of the tidy table; these targets show full fine-tuning.
        for strategy in set(source["strategy"]) - {"", "base", "fewshot"}:
            STRATEGIES.get(way(strategy)[0])  # an unknown one is an error, not something to leave out
        rows = source[(source["relation"] == "") & source["strategy"].isin(["", "base", "fewshot", DEFAULT])]
        return self.build(rows.dropna(subset=["value"]))


TARGETS: Registry[Target] = Registry("target", "sftlens.reporting.themes", key=lambda target: target.place)


def of_kind(kind: str) -> list[str]:
    """Return the names of the figures, or of the tables, in the order of the page."""
    return [target.name for target in TARGETS if target.kind == kind]


def wanted(study: Study) -> dict[str, list[Product]]:
    """Return the products behind each figure and table that the study has experiments for, in the order of the page."""
    every = distinct(study)
    answered = [product for product in every if product.stage in ANSWERED]
    bases = [product for product in every if product.stage == "mastery"]
    found = {**products(study), MASTERY: bases}
    if answered:
        found |= {ANSWERS: [*bases, *answered], EVERYTHING: every}
    behind: dict[str, list[Product]] = {}
    for target in TARGETS:
        asked = list(dict.fromkeys(found.get(target.behind, [])))
        if target.pretrained_only:
            asked = [product for product in asked if study.models[product.cell.model].source == "pretrain"]
        if asked and target.behind not in (MASTERY, ANSWERS, EVERYTHING):
            # How many examples a cell really had stands in the summary of its training.
            cells = dict.fromkeys(product.cell for product in asked if product.cell.trained)
            asked = [*(Product("finetune", cell) for cell in cells), *asked]
        if asked:
            behind[target.name] = asked
    return behind


def why_unknown(study: Study, name: str) -> str:
    """Return why nothing makes a file or target of this name: what the study lacks for it, or what there is instead."""
    if name in TARGETS.names():
        return f"study {study.study} has nothing to draw {name} from; add experiments.{TARGETS.get(name).behind}"
    return str(unknown("file or target", name, [*wanted(study), "all", "cells", "plan"]))
