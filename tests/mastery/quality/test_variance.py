"""Variance components: known ones are recovered without bias, and what fewer templates or samples cost comes true."""

import math

import numpy as np
import pandas as pd
import pytest

from sftlens.mastery.quality import variance

TRUE = {"fact": 0.15**2 / 3, "template": 0.12**2 / 3, "interaction": 0.1**2 / 3}
MEAN = 0.5
TRUE["sample"] = MEAN * (1 - MEAN) - sum(TRUE.values())
"""Effects are uniform and small enough for every rate to lie in [0, 1]; E[p (1 - p)] follows."""


def rates(draw: np.random.Generator, facts: int, templates: int) -> np.ndarray:
    fact = draw.uniform(-0.15, 0.15, (facts, 1))
    template = draw.uniform(-0.12, 0.12, templates)
    return MEAN + fact + template + draw.uniform(-0.1, 0.1, (facts, templates))


def probed(draw: np.random.Generator, relations: int, facts: int, templates: int, samples: int) -> pd.DataFrame:
    """Return a mastery table of relations whose rates have the components TRUE."""
    parts = []
    for number in range(relations):
        hits = draw.binomial(samples, rates(draw, facts, templates))
        parts.append(pd.DataFrame({"relation": f"P{number}", "template_hits": hits.tolist()}))
    table = pd.concat(parts, ignore_index=True)
    return table.assign(trials=templates * samples)


@pytest.mark.parametrize(("facts", "templates", "samples"), [(30, 7, 10), (5, 4, 2), (2, 2, 3)])
def test_components_are_recovered_without_bias(facts: int, templates: int, samples: int) -> None:
    """The mean over many small relations is the truth: unbiased however few facts, templates and samples."""
    found = variance.components(probed(np.random.default_rng(0), 800, facts, templates, samples))
    for name, true in TRUE.items():
        error = found[name].std() / math.sqrt(len(found))
        assert abs(found[name].mean() - true) < 4 * error, name
    assert (found["facts"] == facts).all() and (found["samples"] == samples).all()


@pytest.mark.parametrize(("templates", "samples"), [(7, 10), (3, 10), (7, 1)])
def test_the_variance_of_r_at_another_design_is_foretold(templates: int, samples: int) -> None:
    draw = np.random.default_rng(1)
    measured = variance.components(probed(draw, 400, 30, 7, 10))[list(TRUE)].mean()
    parts = variance.contributions(measured, templates, samples)
    hits = [draw.binomial(samples, rates(draw, 1, templates)) for _ in range(6000)]
    seen = np.var([row.mean() / samples for row in hits])
    assert sum(parts.values()) == pytest.approx(seen, rel=0.08)


def test_reliability_is_the_correlation_of_two_measurements() -> None:
    """Other templates, other samples, the same facts: R correlates as much as was said."""
    draw = np.random.default_rng(2)
    table = probed(draw, 60, 40, 6, 5)
    said = {row["bucket"]: row["value"] for row in variance.metrics(table) if row["metric"] == "reliability"}
    correlations = []
    for _ in range(300):
        fact = draw.uniform(-0.15, 0.15, (40, 1))
        both = [
            draw.binomial(
                5, MEAN + fact + draw.uniform(-0.12, 0.12, 6) + draw.uniform(-0.1, 0.1, (40, 6))
            ).mean(axis=1)
            for _ in range(2)
        ]  # fmt: skip
        correlations.append(np.cov(*both)[0, 1] / np.sqrt(np.var(both[0], ddof=1) * np.var(both[1], ddof=1)))
    assert said["6 x 5"] == pytest.approx(np.mean(correlations), abs=0.03)
    assert said["6 x 5"] > said["3 x 5"] > said["2 x 5"] and said["6 x 5"] > said["6 x 1"]


def test_differences_between_relations_are_a_component() -> None:
    draw, means = np.random.default_rng(3), np.repeat([0.3, 0.7], 40)
    parts = [
        pd.DataFrame({"relation": f"P{i}", "template_hits": draw.binomial(10, np.full((30, 5), mean)).tolist()})
        for i, mean in enumerate(means)
    ]
    rows = variance.metrics(pd.concat(parts).assign(trials=50))
    found = {row["metric"]: row["value"] for row in rows if "bucket" not in row}
    assert found["variance_relation"] == pytest.approx(np.var(means, ddof=1), rel=0.02)
    assert abs(found["variance_fact"]) < 1e-3 and abs(found["variance_template"]) < 1e-3


def test_the_shares_of_the_variance_of_r_sum_to_one_and_intervals_hold_their_means() -> None:
    rows = variance.metrics(probed(np.random.default_rng(4), 24, 60, 7, 10))
    assert sum(row["value"] for row in rows if row["metric"].startswith("share_of_R")) == pytest.approx(1)
    for row in rows:
        assert row["n"] == 24 and row.get("low", row["value"]) <= row["value"] <= row.get("high", row["value"])


def test_what_cannot_be_told_apart_is_left_out() -> None:
    draw = np.random.default_rng(5)
    one_sample = variance.components(probed(draw, 3, 20, 5, 1))
    assert one_sample[["interaction", "sample"]].isna().all(axis=None) and one_sample["fact"].notna().all()
    assert {row["metric"] for row in variance.metrics(probed(draw, 3, 20, 5, 1))} == {
        "variance_fact", "variance_template"
    }  # fmt: skip
    for table in (probed(draw, 3, 1, 5, 10), probed(draw, 3, 20, 1, 10), probed(draw, 1, 4, 2, 4).head(0)):
        assert variance.metrics(table) == []
    imported = pd.DataFrame({"relation": "P1", "template_hits": [[3], [9], [1]], "trials": [10, 20, 30]})
    assert variance.metrics(imported) == []
