"""How well the base models know the facts, and how well that was measured (paper section 3.1, Tables 1 and 8)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sftlens.dag.targets import MASTERY as EVERY_TABLE
from sftlens.dag.targets import TARGETS, Chart, Layout, Target
from sftlens.data.buckets import BUCKETS
from sftlens.paper import models
from sftlens.reporting import frames, style
from sftlens.reporting.frames import SPLITS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

STAGE = "mastery_quality"
MASTERY = "Mastery (%)"
MEASURES = {
    "retest_agreement": "Test and retest: same bucket",
    "expected_agreement": "Test and retest: same bucket, expected",
    "retest_within_one": "Test and retest: at most one bucket apart",
    "expected_within_one": "Test and retest: at most one bucket apart, expected",
    "kappa": "Cohen's kappa",
    "kappa_quadratic": "Cohen's kappa, quadratic weights",
    "retest_correlation": "Test and retest: correlation of R",
    "retest_difference": "Test and retest: mean change of R",
    "prior_zero": "Facts with a true rate of zero, share",
    "bucket_certainty": "Probability that the rate lies in the fact's bucket",
    "variance_relation": "Variance: relation",
    "variance_fact": "Variance: fact",
    "variance_template": "Variance: template",
    "variance_interaction": "Variance: fact x template",
    "variance_sample": "Variance: sample",
    "share_of_R_fact": "Share of the variance of R: fact",
    "share_of_R_template": "Share of the variance of R: template",
    "share_of_R_interaction": "Share of the variance of R: fact x template",
    "share_of_R_sample": "Share of the variance of R: sample",
    "reliability": "Reliability of R, by templates x samples",
    "error_sd": "Error of R (SD), by templates x samples",
    "exposure_spearman": "Rank correlation of R with exposure",
    "probability_spearman": "Rank correlation of R with the probability of the answer",
    "probability_brier": "Mean squared difference of R and the probability of the answer",
    "probability_ece": "Calibration error of the probability of the answer",
}
"""Metrics of the table `reliability`, in its order -> what it calls them."""


def counts(results: pd.DataFrame, shown: Callable[[str], bool]) -> pd.DataFrame:
    """Return facts per bucket, model and split, of the models whose names `shown` chooses."""
    rows = frames.of_models(frames.selected(results, "mastery", "facts"), shown)
    rows = rows.assign(Model=rows["model"], Split=rows["split"].map(SPLITS))
    keys = ["Model", "Split"]
    table = frames.pivot(rows, keys, "bucket", list(BUCKETS))[[*keys, *BUCKETS]]
    table["Total"] = table[list(BUCKETS)].sum(axis=1, skipna=False)
    return table.astype(dict.fromkeys([*BUCKETS, "Total"], "Int64"))


def reliability(results: pd.DataFrame) -> pd.DataFrame:
    """Return one row a number: Model, Measure, Of (a bucket, split or design), n, Value, Value low and high (95 %)."""
    import pandas as pd

    rows = results[(results["stage"] == STAGE) & results["metric"].isin(list(MEASURES))]
    models = list(dict.fromkeys(rows["model"]))
    places = {"of": rows["model"].map(models.index), "order": rows["metric"].map(list(MEASURES).index)}
    places["where"] = rows["split"].map(["", *SPLITS].index)
    # Numbers by their size: 7 x 10 after 7 x 5.
    places["sized"] = rows["bucket"].str.replace(r"\d+", lambda run: run[0].zfill(6), regex=True)
    rows = rows.assign(**places).sort_values(list(places), kind="stable")
    table = {
        "Model": rows["model"],
        "Measure": rows["metric"].map(MEASURES),
        "Of": rows["bucket"].mask(rows["split"] != "", rows["split"].map(SPLITS)),
        "n": rows["n"].astype("Int64"),
        "Value": rows["value"],
        "Value low": rows["low"],
        "Value high": rows["high"],
    }
    return pd.DataFrame(table).reset_index(drop=True)


def exposure(results: pd.DataFrame) -> pd.DataFrame:
    """Return mean mastery by how often the corpus states a fact, in percent: one row a bin, split and model.

    Columns: Model, Split, Exposure, Facts, `MASTERY`, Low, High (percent, 95 %), Spearman (of the split's facts).
    """
    import pandas as pd

    rows = frames.selected(results, STAGE, "mastery_by_exposure")
    ranks = frames.selected(results, STAGE, "exposure_spearman")
    known = ranks.drop_duplicates(["model", "split"]).set_index(["model", "split"])["value"]
    names = rows["bucket"].str.removeprefix("exposure ")
    table = {
        "Model": rows["model"],
        "Split": rows["split"].map(SPLITS),
        "Exposure": names,
        "Facts": rows["n"].astype("Int64"),
        MASTERY: rows["value"] * 100,
        "Low": rows["low"] * 100,
        "High": rows["high"] * 100,
        "Spearman": known.reindex(pd.MultiIndex.from_frame(rows[["model", "split"]])).to_numpy(dtype="float64"),
    }
    return frames.in_order(pd.DataFrame(table), ["Model", "Split", "Exposure"], rows.assign(Model=rows["model"]))


def draw_exposure(numbers: pd.DataFrame, notice: str) -> Figure:
    """Return mastery against exposure: one panel a model, one line a split."""
    models = list(dict.fromkeys(numbers["Model"])) or [""]
    foot = ["Bars: 95 % interval of the mean over facts.", notice]
    figure, panels = style.page(1, len(models), (4.6, 3.3), foot=foot)
    for axes, model in zip(panels[0], models, strict=True):
        own = numbers[numbers["Model"] == model]
        if own.empty:
            style.nothing(axes)
            continue
        bins = sorted(set(own["Exposure"]), key=lambda name: int(name.split("-")[0]))
        axes.set_title(model, loc="left")
        axes.set(xlabel="Statements of the fact in the corpus", ylabel="Mean mastery R (%)", ylim=(0, 102))
        axes.set_xticks(range(len(bins)), bins)
        for number, (split, rows) in enumerate(own.groupby("Split", sort=False)):
            colour, marker = style.look(str(split))
            x = [bins.index(name) + 0.08 * (number - 1) for name in rows["Exposure"]]
            ends = [rows[MASTERY] - rows["Low"], rows["High"] - rows[MASTERY]]
            label = f"{split} (Spearman {rows['Spearman'].iloc[0]:.2f})"
            axes.errorbar(x, rows[MASTERY], ends, color=colour, marker=marker, elinewidth=1, capsize=2, label=label)
        axes.legend(frameon=False, loc="upper left", fontsize=8)
    return figure


TARGETS.add(Target(
    "table1", 10, EVERY_TABLE, "Facts per mastery bucket",
    "Number of facts in each bucket, as this base model masters them. Paper: Tables 1 and 8.",
    lambda results: counts(results, models.others), layout=Layout(("Model", "Split")),
    shows=lambda study, model: models.others(model), needs="models other than LLaMA-2 (see table8)",
))  # fmt: skip
TARGETS.add(Target(
    "table8", 11, EVERY_TABLE, "Facts per mastery bucket: LLaMA-2",
    "Number of facts in each bucket, as this base model masters them. Paper: Table 8.",
    lambda results: counts(results, models.llama_2), layout=Layout(("Model", "Split")),
    shows=lambda study, model: models.llama_2(model), needs="models of LLaMA-2, by their names (llama-2-7b)",
))  # fmt: skip
TARGETS.add(Target(
    "reliability", 12, "mastery", "How good the measurement of mastery is",
    "A random sample of facts was probed a second time with other random numbers. Expected is what the first probe "
    "lets one expect: each fact's rate has a posterior under a zero-inflated beta distribution of the rates of all "
    "facts. Variance: components of a single completion's hit within a relation (mean over relations, unbiased, "
    "so small ones may be negative). Reliability: the share of the true differences between facts in the variance "
    "of R, if it were measured with so many templates and samples of each; the error is what fewer would cost. "
    "Low and high: 95 % intervals (of an expected share: where the observed one would lie).",
    reliability, folded=True,
))  # fmt: skip
TARGETS.add(Target(
    "exposure", 14, "mastery", "Mastery against exposure",
    "Mean mastery R of the facts that the pretraining text states so often, with its 95 % interval over facts. "
    "The text was written here, so exposure is known; with a real model it is not. What the text never "
    "states can only be guessed.",
    exposure, draw_exposure, chart=Chart("Exposure", MASTERY, "Split"),
    shows=lambda study, model: study.models[model].source == "pretrain", needs="models that are pretrained here",
))  # fmt: skip
