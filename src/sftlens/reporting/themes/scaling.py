"""Accuracy and KL divergence against the number of training examples (paper sections 4 and 5, Figs. 2 to 6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sftlens.dag.targets import TARGETS, Chart, Layout, Target
from sftlens.data.buckets import BUCKETS
from sftlens.paper import models
from sftlens.reporting import curves, frames, style
from sftlens.reporting.frames import ACCURACY, BASE, FEWSHOT, KL, TESTS

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


def divergence(results: pd.DataFrame) -> pd.DataFrame:
    """Return KL against n, in nats."""
    return curves.against_n(results, "divergence", "kl", "D4", ["test"], KL)


def draw_divergence(numbers: pd.DataFrame, notice: str) -> Figure:
    """Return it, a panel a model."""
    return curves.draw(numbers, notice, KL, "KL divergence, first token,\nbucket D4 (nats)")


def against_accuracy(results: pd.DataFrame) -> pd.DataFrame:
    """Return KL beside the accuracy of the same models on the same bucket of facts (D4, ID)."""
    kl = divergence(results)
    keys = ["Model", "Trained on", "n"]
    known = curves.against_n(results, "evaluate", "contains", "D4", ["test"], ACCURACY)
    both = kl.merge(known[[*keys, ACCURACY, f"{ACCURACY} SD"]], on=keys).drop(columns=["Test set"])
    return both.assign(Seeds=both.pop("Seeds"))


def draw_against_accuracy(numbers: pd.DataFrame, notice: str) -> Figure:
    """Return accuracy against KL, a panel a model, with the rank correlation within training sets and its interval."""
    shown = list(dict.fromkeys(numbers["Model"])) or [""]
    legend = [style.key(name) for name in dict.fromkeys(numbers["Trained on"]) if name not in (BASE, FEWSHOT)]
    wide = min(2, len(shown))
    foot = (
        "Lines follow n, from the small marker on. Correlation: Spearman's, of deviations from the training set's mean."
    )
    figure, grid = style.page(
        -(-len(shown) // wide), wide, (4.4, 3.4) if wide == 1 else (3.5, 3.2), legend=[legend] if legend else [],
        foot=[f"{foot} {frames.gaps(numbers, ACCURACY)}", notice], sharey=False,
    )  # fmt: skip
    for axes, model in zip(grid.flat, shown, strict=False):
        own = numbers[(numbers["Model"] == model)].dropna(subset=[KL, ACCURACY])
        if own.empty:
            style.nothing(axes)
            continue
        for name, line in own.groupby("Trained on", sort=False):
            colour, marker = (style.GREY, "o") if name == BASE else style.look(str(name))
            axes.plot(line[KL], line[ACCURACY], color=colour, lw=0.9, alpha=0.6)
            sizes = [4.0, *[6.5] * (len(line) - 1)] if name != BASE else [5.0]
            for (_, point), size in zip(line.iterrows(), sizes, strict=True):
                axes.plot([point[KL]], [point[ACCURACY]], marker, color=colour, markersize=size, **style.EDGE)
            if name == BASE:
                axes.annotate("base model", (line[KL].iloc[0], line[ACCURACY].iloc[0]), (6, -3),
                              textcoords="offset points", size=7.5, color=style.GREY)  # fmt: skip
        axes.set_title(f"{model}\n{_correlation(own)}", loc="left", size=8.5)
        axes.set(xlabel="KL from the base model (nats)", ylabel="Accuracy on bucket D4 (%)")
        axes.grid(visible=True, axis="x")
    for axes in list(grid.flat)[len(shown) :]:
        style.nothing(axes, "")
    return figure


def _correlation(numbers: pd.DataFrame) -> str:
    """Return the correlation of claim C4 in words: numbered n, each training set about its own mean."""
    from sftlens.statistics.correlations import spearman

    cells = numbers[numbers["n"].str.isdigit() & (numbers["n"] != "0")]
    about = [cells[name] - cells.groupby("Trained on")[name].transform("mean") for name in (KL, ACCURACY)]
    r, low, high = spearman(*about)
    if r != r:
        return "too few cells for a correlation"
    return f"correlation {r:.2f} ({low:.2f} to {high:.2f}), {len(cells)} cells".replace("-", "−")


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
TARGETS.add(Target(
    "kl_accuracy", 32, "divergence+scaling", "Does accuracy fall as the model moves away?",
    "Accuracy on the ID test facts of bucket D4 against the KL divergence from the base model on the same bucket, one "
    "marker per training set and n. The correlation is within training sets, over numbered n, with a 95 % interval as "
    "if the cells were independent, which those of one training set are not quite.",
    against_accuracy, draw_against_accuracy, chart=Chart(KL, ACCURACY, "Trained on"),
))  # fmt: skip
TARGETS.add(Target(
    "fig5", 30, "divergence", "KL divergence from the base model",
    "KL(fine-tuned || base) of the first predicted token over the fine-tuned model's ten most "
    "probable tokens, mean over the ID test facts of bucket D4 whose answer comes near the beginning "
    "of the completion. The fine-tuned model reads the question, the base model a completion "
    "template, so the value at n = 0 shows what this difference of prompts alone does. Paper: Figure 5.",
    divergence, draw_divergence, chart=Chart("n", KL, "Trained on"),
))  # fmt: skip
TARGETS.add(Target(
    "fig5_paper", 31, "divergence", "Figure 5 with the paper's curves",
    "Solid: KL in this study. Thin and dashed: what the paper prints for the same training set and n.",
    lambda results: curves.beside_the_paper(divergence(results), "Fig5"), draw_divergence,
    shows=lambda study, model: models.published(model) == "LLaMA-3-8B" and models.compared(study, model),
    needs="LLaMA-3-8B, by its name (llama-3-8b), on EntityQuestions",
))  # fmt: skip
