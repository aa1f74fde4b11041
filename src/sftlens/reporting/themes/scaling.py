"""Accuracy against the number of training examples (paper section 4, Figures 2, 4 and 6, Table 2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sftlens.dag.targets import TARGETS, Chart, Layout, Target
from sftlens.data.buckets import BUCKETS
from sftlens.paper import models
from sftlens.reporting import curves, frames
from sftlens.reporting.frames import ACCURACY, TESTS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

NEEDS = "models of the paper, by their names (llama-3-8b), on EntityQuestions"
EIGHT = "LLaMA-3-8B"
"""The model of Figures 4 and 5."""


def table2(results: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy per test bucket at the largest numbered scale."""
    import pandas as pd

    rows = frames.selected(results, "evaluate", "contains")
    rows = rows[rows["split"].isin(TESTS) & rows["bucket"].isin([*BUCKETS, "macro"])]
    size = pd.to_numeric(rows["scale"], errors="coerce")
    largest = size.groupby(rows["model"]).transform("max")
    # A training set measured only at smaller scales keeps its row, empty: leaving it out would hide the gap.
    value = (rows["value"] * 100).where((size == largest) | (size == 0))
    scale = largest.where(size > 0, 0).map("{:.0f}".format)
    rows = rows.assign(value=value, scale=scale, bucket=rows["bucket"].replace("macro", "Macro"))
    rows = frames.named(rows[size.notna()])
    table = frames.pivot(rows, ["Model", "Test set", "Trained on", "n"], "bucket", [*BUCKETS, "Macro"])
    return frames.with_examples(table, results)


def accuracies(results: pd.DataFrame, shown: Callable[[str], bool]) -> pd.DataFrame:
    """Return macro accuracy against n, of the models whose names `shown` chooses (see `curves.against_n`)."""
    rows = frames.of_models(results, shown)
    return curves.against_n(rows, "evaluate", "contains", "macro", TESTS, ACCURACY)


def draw_accuracies(numbers: pd.DataFrame, notice: str) -> Figure:
    """Return them as panels of models by test sets."""
    return curves.draw(numbers, notice, ACCURACY, "Accuracy, mean of the five\nmastery buckets (%)", columns="Test set")


def on_d4(results: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy on test bucket D4 (ID) against n."""
    return curves.against_n(results, "evaluate", "contains", "D4", ["test"], ACCURACY)


def draw_d4(numbers: pd.DataFrame, notice: str) -> Figure:
    """Return it, a panel a model."""
    return curves.draw(numbers, notice, ACCURACY, "Accuracy on test bucket D4 (%)")


TARGETS.add(Target(
    "fig2", 20, "scaling", "Accuracy against the number of training examples",
    "Share of test questions whose greedy answer contains the right object or an alias, averaged over "
    "the five mastery buckets with equal weight, for in-domain (ID) and out-of-domain (OOD) "
    "relations. One line per bucket that the training examples come from. The grey lines are the "
    "model before fine-tuning, with the same prompt and, where measured, with five examples in the "
    "prompt. Paper: Figures 2 and 6.",
    lambda results: accuracies(results, models.others), draw_accuracies,
    shows=lambda study, model: models.others(model), needs="models other than LLaMA-2 (see fig6)",
    chart=Chart("n", ACCURACY, "Trained on", "Test set"),
))  # fmt: skip
TARGETS.add(Target(
    "fig6", 23, "scaling", "Accuracy against the number of training examples: LLaMA-2",
    "As Figure 2, for the models of LLaMA-2, which the paper shows in its appendix. Paper: Figure 6.",
    lambda results: accuracies(results, models.llama_2), draw_accuracies,
    shows=lambda study, model: models.llama_2(model), needs="models of LLaMA-2, by their names (llama-2-7b)",
    chart=Chart("n", ACCURACY, "Trained on", "Test set"),
))  # fmt: skip
TARGETS.add(Target(
    "fig2_paper", 25, "scaling", "Figure 2 with the paper's curves",
    "Solid: accuracy in this study. Thin and dashed: what the paper prints for the same model, training set and n.",
    lambda results: curves.beside_the_paper(accuracies(results, models.others), "Fig2"), draw_accuracies,
    shows=lambda study, model: models.others(model) and models.compared(study, model), needs=NEEDS,
))  # fmt: skip
TARGETS.add(Target(
    "fig6_paper", 26, "scaling", "Figure 6 with the paper's curves",
    "Solid: accuracy in this study. Thin and dashed: what the paper prints for the same model, training set and n.",
    lambda results: curves.beside_the_paper(accuracies(results, models.llama_2), "Fig6"), draw_accuracies,
    shows=lambda study, model: models.llama_2(model) and models.compared(study, model), needs=NEEDS,
))  # fmt: skip
TARGETS.add(Target(
    "fig4_paper", 27, "scaling", "Figure 4 with the paper's curves",
    "Solid: accuracy in this study. Thin and dashed: what the paper prints for the same training set and n.",
    lambda results: curves.beside_the_paper(on_d4(results), "Fig4"), draw_d4,
    shows=lambda study, model: models.published(model) == EIGHT and models.compared(study, model), needs=NEEDS,
))  # fmt: skip
TARGETS.add(Target(
    "fig4", 22, "scaling", "Accuracy on well-known facts",
    "The same accuracy on test bucket D4 (ID) alone: facts that the base model completes correctly "
    "more than three times in four. Paper: Figure 4.",
    on_d4, draw_d4, chart=Chart("n", ACCURACY, "Trained on"),
))  # fmt: skip
TARGETS.add(Target(
    "table2", 24, "scaling", "Accuracy per test bucket at the largest scale",
    "Accuracy in percent on each test bucket (columns) after fine-tuning on one bucket (rows), at the "
    "largest numbered scale. Macro is the unweighted mean of the five. Examples is the real size of "
    "the training set: a bucket with fewer than n facts gives all that it has. Paper: Table 2.",
    table2,
    layout=Layout(("Model", "Trained on", "n", "Examples"), ("Test set",)),
))  # fmt: skip
