"""Where the variance of mastery comes from: relations, facts, templates, their interaction, and sampling.

Within a relation every fact meets every template, a crossed design. The rate of fact f at template t is
p_ft = mu + fact_f + template_t + interaction_ft, and each of the n completions there is a Bernoulli draw with it. The
components are estimated by the method of moments (expected mean squares of the two-way layout: Searle, Casella &
McCulloch, Variance Components, 1992, chapter 4), the sampling variance E[p (1 - p)] from the hits of each cell by
x (1 - x) n / (n - 1). Each estimator is unbiased, so one whose true value is near zero may come out negative.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from sftlens.statistics import intervals

SOURCES = ("fact", "template", "interaction", "sample")
DESIGNS = ((1.0, 1.0), (1.0, 0.5), (1.0, 0.1), (0.5, 1.0), (0.25, 1.0))
"""Shares of the templates and of the samples for which the error of R is also worked out."""


def components(table: pd.DataFrame) -> pd.DataFrame:
    """Return the variance components of the hit indicator of each relation.

    `table` is a mastery table; columns relation, trials and template_hits (list of int, one a template). Returns one
    row a relation: relation, facts, templates, samples (int), mean (of R), `fact`, `template`, `interaction`, `sample`
    (float64, variances of a rate in [0, 1]). NaN where the data cannot tell: all four with one fact or one template, or
    where (in an imported table) not every fact has the same templates and samples; `interaction` and `sample` with one
    sample.
    """
    groups = table.groupby("relation", sort=False)[["template_hits", "trials"]]
    return pd.DataFrame([{"relation": str(name), **_relation(part)} for name, part in groups])


def contributions(relation: Mapping[str, Any], templates: float, samples: float) -> dict[str, float]:
    """Return what each component (a row of `components`) adds to the variance of R over the facts of a relation.

    `fact` is what mastery is about; `template` moves all facts of the relation alike; `interaction` and `sample` are
    the error by which facts change places. None but `fact` is left with ever more templates.
    """
    divisors = (1.0, templates, templates, templates * samples)
    return {name: float(relation[name]) / by for name, by in zip(SOURCES, divisors, strict=True)}


def metrics(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return components, contributions and the cost of fewer templates or samples as rows of metrics.

    Each value is the mean over relations with a 95 % interval across them, n the number of relations:
    `variance_fact`, `_template`, `_interaction`, `_sample`; `variance_relation`, the variance of the relations' means
    beyond the error of each; `share_of_R_fact` ..., the share of the mean contributions to the variance of R within a
    relation; and for several designs (`bucket`: "7 x 10", templates x samples) `reliability`, the share of fact in
    fact, interaction and sample (generalisability coefficient: Brennan, Generalizability Theory, 2001), and `error_sd`,
    the standard deviation of R of a fact about its rate over all such templates, without the part that all facts share.
    """
    if table.empty:
        return []
    known = components(table).dropna(subset=["fact"])
    rows: list[dict[str, Any]] = []
    for name in SOURCES:
        if values := known[name].dropna().tolist():
            value, low, high = intervals.mean(values)
            ends = {"low": low, "high": high} if len(values) > 1 else {}
            rows.append({"metric": f"variance_{name}", "value": value, "n": len(values), **ends})
    parts: list[dict[str, Any]] = known.dropna().to_dict("records")
    if not parts:
        return rows
    count = len(parts)
    each = [contributions(part, part["templates"], part["samples"]) for part in parts]
    if count > 1:
        # The variance of the relations' true means: that of the observed ones, less the mean error of one.
        errors = [
            of["template"] + (of["fact"] + of["interaction"] + of["sample"]) / part["facts"]
            for of, part in zip(each, parts, strict=True)
        ]
        observed = float(np.var([part["mean"] for part in parts], ddof=1))
        rows.append({"metric": "variance_relation", "value": observed - float(np.mean(errors)), "n": count})
    shares = {name: float(np.mean([of[name] for of in each])) for name in SOURCES}
    total = sum(shares.values())
    for name in SOURCES if total > 0 else ():
        rows.append({"metric": f"share_of_R_{name}", "value": shares[name] / total, "n": count})
    most, samples = max(part["templates"] for part in parts), max(part["samples"] for part in parts)
    designs = [(max(1, round(most * few)), max(1, round(samples * short))) for few, short in DESIGNS]
    means = {name: float(np.mean([part[name] for part in parts])) for name in SOURCES}
    for design in dict.fromkeys(designs):
        of = contributions(means, *design)
        error = max(0.0, of["interaction"] + of["sample"])
        place = {"n": count, "bucket": f"{design[0]} x {design[1]}"}
        rows.append({"metric": "error_sd", "value": math.sqrt(error), **place})
        if of["fact"] > 0:
            rows.append({"metric": "reliability", "value": of["fact"] / (of["fact"] + error), **place})
    return rows


def _relation(part: pd.DataFrame) -> dict[str, Any]:
    """Equate the mean squares of the rates [facts, templates] of a relation to their expectations."""
    listed = [list(hits) for hits in part["template_hits"]]
    facts, templates, trials = len(part), len(listed[0]), int(part["trials"].iloc[0])
    samples = trials // max(1, templates)
    found = {"facts": facts, "templates": templates, "samples": samples, "mean": math.nan}
    found |= dict.fromkeys(SOURCES, math.nan)
    crossed = all(len(hits) == templates for hits in listed) and (part["trials"] == trials).all()
    if not crossed or not trials or trials % templates:
        return found
    rates = np.array(listed, dtype=float) / samples
    found["mean"] = float(rates.mean())
    if facts > 1 and templates > 1:
        by_fact, by_template, mean = rates.mean(axis=1), rates.mean(axis=0), rates.mean()
        rest = rates - by_fact[:, None] - by_template + mean
        error = float((rest**2).sum() / ((facts - 1) * (templates - 1)))
        found["fact"] = float(by_fact.var(ddof=1)) - error / templates
        found["template"] = float(by_template.var(ddof=1)) - error / facts
        if samples > 1:
            found["sample"] = float((rates * (1 - rates)).mean()) * samples / (samples - 1)
            found["interaction"] = error - found["sample"] / samples
    return found
