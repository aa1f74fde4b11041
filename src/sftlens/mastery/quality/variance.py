"""Where the variance of mastery comes from: relations, facts, templates, their interaction, and sampling.

Within a relation every fact meets every template, a crossed design. The rate of fact f at template t is
p_ft = mu + fact_f + template_t + interaction_ft, and each of the n completions there is a Bernoulli draw with it. The
components are estimated by the method of moments (expected mean squares of the two-way layout: Searle, Casella &
McCulloch, Variance Components, 1992, chapter 4), the sampling variance E[p (1 - p)] from the hits of each cell by
x (1 - x) n / (n - 1). Each estimator is unbiased, so one whose true value is near zero may come out negative.
"""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sftlens.statistics import intervals

if TYPE_CHECKING:
    import pandas as pd

SOURCES = ("fact", "template", "interaction", "sample")
DESIGNS = ((1.0, 1.0), (1.0, 0.5), (1.0, 0.1), (0.5, 1.0), (0.25, 1.0))
"""Shares of the templates and of the samples for which the error of R is also worked out."""


def components(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return the variance components of the hit indicator of each relation.

    Args:
        table: a mastery table; columns relation, trials and template_hits (list of int, one a template).

    Returns:
        One row a relation: relation, facts, templates, samples (int), mean (of R), `fact`, `template`, `interaction`,
        `sample` (float64, variances of a rate in [0, 1]). NaN where the data cannot tell: all four with one fact or one
        template, or where (in an imported table) not every fact has the same templates and samples; `interaction` and
        `sample` with one sample.
    """
    import pandas as pd

    groups = table.groupby("relation", sort=False)[["template_hits", "trials"]]
    return pd.DataFrame([{"relation": str(name), **_relation(part)} for name, part in groups])


def contributions(relation: Mapping[str, Any], templates: float, samples: float) -> dict[str, float]:
    """Return what each component adds to the variance of R over the facts of a relation.

    Args:
        relation: its components, such as a row of `components`.
        templates, samples: how many templates, and completions of each.

    `fact` is what mastery is about; `template` moves all facts of the relation alike; `interaction` and `sample` are
    the error by which facts change places. None but `fact` is left with ever more templates.
    """
    divisors = (1.0, templates, templates, templates * samples)
    return {name: float(relation[name]) / by for name, by in zip(SOURCES, divisors, strict=True)}


def metrics(table: "pd.DataFrame") -> list[dict[str, Any]]:
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
    rows = [_mean(f"variance_{name}", known[name].dropna().tolist()) for name in SOURCES if known[name].notna().any()]
    full = known.dropna().to_dict("records")
    return [*rows, *_between(full), *_shares(full), *_designs(full)] if full else rows


def _relation(part: "pd.DataFrame") -> dict[str, Any]:
    listed = [list(hits) for hits in part["template_hits"]]
    templates, trials = len(listed[0]), int(part["trials"].iloc[0])
    sizes = {"facts": len(part), "templates": templates, "samples": trials // max(1, templates)}
    crossed = all(len(hits) == templates for hits in listed) and (part["trials"] == trials).all()
    if not crossed or not trials or trials % templates:
        return {**sizes, "mean": math.nan, **dict.fromkeys(SOURCES, math.nan)}
    rates = np.array(listed, dtype=float) / sizes["samples"]
    found = dict(zip(SOURCES, _moments(rates, sizes["samples"]), strict=True))
    return {**sizes, "mean": float(rates.mean()), **found}


def _moments(rates: np.ndarray, samples: int) -> tuple[float, float, float, float]:
    """Equate the mean squares of rates [facts, templates] to their expectations."""
    facts, templates = rates.shape
    if facts < 2 or templates < 2:
        return (math.nan,) * 4
    by_fact, by_template, mean = rates.mean(axis=1), rates.mean(axis=0), rates.mean()
    rest = rates - by_fact[:, None] - by_template + mean
    error = float((rest**2).sum() / ((facts - 1) * (templates - 1)))
    fact = float(by_fact.var(ddof=1)) - error / templates
    template = float(by_template.var(ddof=1)) - error / facts
    if samples < 2:
        return fact, template, math.nan, math.nan
    sample = float((rates * (1 - rates)).mean()) * samples / (samples - 1)
    return fact, template, error - sample / samples, sample


def _mean(metric: str, values: list[float], **place: Any) -> dict[str, Any]:
    value, low, high = intervals.mean(values)
    ends = {"low": low, "high": high} if len(values) > 1 else {}
    return {"metric": metric, "value": value, "n": len(values), **place, **ends}


def _between(parts: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The variance of the relations' true means: that of the observed ones, less the mean error of one."""
    if len(parts) > 1:
        observed = float(np.var([part["mean"] for part in parts], ddof=1))
        yield {"metric": "variance_relation", "value": observed - _mean_error(parts), "n": len(parts)}


def _mean_error(parts: list[dict[str, Any]]) -> float:
    errors = []
    for part in parts:
        within = contributions(part, part["templates"], part["samples"])
        errors.append(within.pop("template") + sum(within.values()) / part["facts"])
    return float(np.mean(errors))


def _shares(parts: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    each = [contributions(part, part["templates"], part["samples"]) for part in parts]
    means = {name: float(np.mean([part[name] for part in each])) for name in SOURCES}
    total = sum(means.values())
    for name in SOURCES if total > 0 else ():
        yield {"metric": f"share_of_R_{name}", "value": means[name] / total, "n": len(parts)}


def _designs(parts: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    most, samples = max(part["templates"] for part in parts), max(part["samples"] for part in parts)
    designs = [(max(1, round(most * few)), max(1, round(samples * short))) for few, short in DESIGNS]
    means = {name: float(np.mean([part[name] for part in parts])) for name in SOURCES}
    for design in dict.fromkeys(designs):
        parted = contributions(means, *design)
        error = max(0.0, parted["interaction"] + parted["sample"])
        place = {"n": len(parts), "bucket": f"{design[0]} x {design[1]}"}
        yield {"metric": "error_sd", "value": math.sqrt(error), **place}
        if parted["fact"] > 0:
            yield {"metric": "reliability", "value": parted["fact"] / (parted["fact"] + error), **place}
