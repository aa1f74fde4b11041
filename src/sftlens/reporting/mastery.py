"""What a study knows of the quality of its mastery measurement, as readable frames made from results.parquet."""

from collections.abc import Mapping

import pandas as pd

STAGE = "mastery_quality"
MASTERY = "Mastery (%)"
_MEASURES = {
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


def reliability(results: pd.DataFrame, splits: Mapping[str, str]) -> pd.DataFrame:
    """Return one row a number: Model, Measure, Of (a bucket, split or design), n, Value, Value low and high (95 %)."""
    rows = results[(results["stage"] == STAGE) & results["metric"].isin(list(_MEASURES))]
    order = {name: place for place, name in enumerate(_MEASURES)}
    places = {"order": rows["metric"].map(order), "where": rows["split"].map(["", *splits].index)}
    # Numbers by their size: 7 x 10 after 7 x 5.
    sized = rows["bucket"].str.replace(r"\d+", lambda run: run[0].zfill(6), regex=True)
    rows = rows.assign(**places, sized=sized).sort_values(["model", "order", "where", "sized"], kind="stable")
    table = pd.DataFrame(
        {
            "Model": rows["model"],
            "Measure": rows["metric"].map(_MEASURES),
            "Of": rows["bucket"].mask(rows["split"] != "", rows["split"].map(splits)),
            "n": rows["n"].astype("Int64"),
            "Value": rows["value"],
            "Value low": rows["low"],
            "Value high": rows["high"],
        }
    )
    return table.reset_index(drop=True)


def exposure(results: pd.DataFrame, splits: Mapping[str, str]) -> pd.DataFrame:
    """Return mean mastery by how often the corpus states a fact, in percent: one row a bin, split and model.

    Columns: Model, Split, Exposure, Facts, `MASTERY`, Low, High (percent, 95 %), Spearman (of the split's facts).
    """
    rows = results[(results["stage"] == STAGE) & (results["metric"] == "mastery_by_exposure")]
    ranks = results[(results["stage"] == STAGE) & (results["metric"] == "exposure_spearman")]
    known = ranks.drop_duplicates(["model", "split"]).set_index(["model", "split"])["value"]
    names = rows["bucket"].str.removeprefix("exposure ")
    table = pd.DataFrame(
        {
            "Model": rows["model"],
            "Split": rows["split"].map(splits),
            "Exposure": names,
            "Facts": rows["n"].astype("Int64"),
            MASTERY: rows["value"] * 100,
            "Low": rows["low"] * 100,
            "High": rows["high"] * 100,
            "Spearman": known.reindex(pd.MultiIndex.from_frame(rows[["model", "split"]])).to_numpy(dtype="float64"),
        }
    )
    start = names.str.split("-").str[0].astype("int64")
    place = pd.DataFrame({"model": rows["model"], "split": rows["split"].map(list(splits).index), "start": start})
    return table.loc[place.sort_values(["model", "split", "start"]).index].reset_index(drop=True)
