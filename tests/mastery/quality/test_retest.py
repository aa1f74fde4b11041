"""A second probe: which facts, how the two agree, and what the first lets one expect of the second."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from probe_tables import SENTENCES, facts_table
from sftlens.config.stages.mastery import ProbingSettings
from sftlens.data import tables
from sftlens.errors import DataError
from sftlens.mastery import mastery_table
from sftlens.mastery.completions import Probe
from sftlens.mastery.quality import posterior as posteriors
from sftlens.mastery.quality import retest
from tiny import tiny_model, tiny_tokenizer

SETTINGS = ProbingSettings(samples=4, max_new_tokens=6)


PRIOR = posteriors.Prior(0.3, 0.5, 1.0)


def two_probes(
    templates_differ: bool, facts: int = 4000, seed: int = 0, prior: posteriors.Prior | None = None
) -> pd.DataFrame:
    """Return two simulated probes of the same facts, as `measure` returns them; the prior is fitted, or given."""
    draw = np.random.default_rng(seed)
    rates = draw.beta(PRIOR.alpha, PRIOR.beta, facts) * (draw.random(facts) >= PRIOR.zero)
    spread = np.minimum(rates, 1 - rates)[:, None] * (np.linspace(-1, 1, 7) * templates_differ)
    first, second = (draw.binomial(10, rates[:, None] + spread).sum(axis=1) for _ in range(2))
    tried = np.full(facts, 70)
    chances = retest.expected(first, tried, prior or posteriors.fit(first, tried))
    table = pd.DataFrame({"hits": first, "mastery": first / 70, "retest_mastery": second / 70})
    table["bucket"] = [mastery_table.bucket(r) for r in table["mastery"]]
    table["retest_bucket"] = [mastery_table.bucket(r) for r in table["retest_mastery"]]
    return table.assign(expected_agreement=chances[0], expected_within_one=chances[1])


def values(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    return {row["metric"]: row for row in retest.metrics(table)}


def test_the_sample_is_fixed_and_part_of_every_larger_one() -> None:
    table = facts_table(subjects=6)
    few, more = (tables.fixed_sample(table, n)["fact_id"].tolist() for n in (5, 11))
    assert more[:5] == few and len(set(more)) == 11
    assert tables.fixed_sample(table.iloc[::-1], 5)["fact_id"].tolist() == few
    assert len(tables.fixed_sample(table, 1000)) == len(table)
    assert len({fact.split("/")[0] for fact in more}) > 1


def test_agreement_on_a_table_worked_out_by_hand() -> None:
    confusion = np.zeros((5, 5))
    confusion[0, 0], confusion[0, 1], confusion[1, 1], confusion[4, 4], confusion[4, 2] = 4, 2, 1, 2, 1
    found = retest.agreement(confusion)
    assert found["retest_agreement"] == 0.7 and found["retest_within_one"] == 0.9
    # By chance (margins 6 1 0 0 3 and 4 3 1 0 2): (6*4 + 1*3 + 3*2) / 100 agree.
    assert found["kappa"] == pytest.approx((0.7 - 0.33) / (1 - 0.33))
    # Squared distances: observed 2*1 + 1*4 of 10; by chance sum of row * column * distance^2 over 100.
    by_chance = (6 * (3 * 1 + 1 * 4 + 2 * 16) + 1 * (4 * 1 + 1 * 1 + 2 * 9) + 3 * (4 * 16 + 3 * 9 + 1 * 4)) / 100
    assert found["kappa_quadratic"] == pytest.approx(1 - 0.6 / by_chance)


def test_no_fact_probed_again_gives_no_row() -> None:
    names = ("mastery", "retest_mastery", "bucket", "retest_bucket", "expected_agreement", "expected_within_one")
    assert retest.metrics(pd.DataFrame({name: [] for name in names})) == []


def test_one_bucket_has_no_kappa() -> None:
    table = pd.DataFrame({"mastery": [0.0] * 9, "retest_mastery": 0.0, "bucket": "D0", "retest_bucket": "D0"})
    found = values(table.assign(expected_agreement=0.9, expected_within_one=1.0))
    assert found["retest_agreement"]["value"] == 1 and found["retest_agreement"]["low"] < 0.9
    assert not found.keys() & {"kappa", "kappa_quadratic", "retest_correlation"}


def test_agreement_is_what_the_posterior_expects() -> None:
    found = values(two_probes(templates_differ=False))
    for observed, expected in (
        ("retest_agreement", "expected_agreement"),
        ("retest_within_one", "expected_within_one"),
    ):
        assert found[expected]["low"] <= found[observed]["value"] <= found[expected]["high"]
    assert 0.7 < found["expected_agreement"]["value"] < 0.95
    assert found["kappa"]["low"] < found["kappa"]["value"] < found["kappa"]["high"] < found["kappa_quadratic"]["value"]
    assert found["retest_correlation"]["value"] > 0.97
    assert found["retest_difference"]["low"] < 0 < found["retest_difference"]["high"]


def test_templates_that_differ_make_probes_agree_more_than_expected() -> None:
    """The posterior takes all completions for draws with one rate; it is conservative."""
    found = values(two_probes(templates_differ=True))
    assert found["retest_agreement"]["value"] > found["expected_agreement"]["high"]


def test_the_interval_of_kappa_holds_the_truth() -> None:
    truth = values(two_probes(False, 40000, 99, PRIOR))["kappa"]["value"]
    ends = [values(two_probes(False, 200, seed, PRIOR))["kappa"] for seed in range(30)]
    assert sum(row["low"] <= truth <= row["high"] for row in ends) >= 25  # 28.5 are expected


def test_a_model_is_probed_again_with_other_numbers(tmp_path: Path) -> None:
    model, tokenizer = tiny_model(tmp_path, std=0.1), tiny_tokenizer()
    table = mastery_table.probe(Probe(model, tokenizer, SENTENCES, SETTINGS), facts_table())
    again = retest.probe_again(Probe(model, tokenizer, SENTENCES, SETTINGS), table, 10)
    assert tuple(again.columns) == retest.COLUMNS and len(again) == 10
    other = mastery_table.probe(
        Probe(model, tokenizer, SENTENCES, SETTINGS.model_copy(update={"seed": 1})), facts_table()
    )
    found = again.merge(other, on="fact_id", suffixes=("", "_other"))
    assert (found["retest_hits"] == found["hits_other"]).all() and (again["retest_hits"] != again["hits"]).any()
    assert (again["retest_bucket"] == [mastery_table.bucket(r) for r in again["retest_mastery"]]).all()
    assert again["expected_agreement"].between(0, 1).all()
    assert (again["expected_agreement"] <= again["expected_within_one"] + 1e-12).all()
    assert {row["metric"] for row in retest.metrics(again)} >= {"retest_agreement", "kappa"}
    posterior = table.assign(**posteriors.uncertainty(table["hits"].to_numpy(), table["trials"].to_numpy()))
    pd.testing.assert_frame_equal(
        retest.probe_again(Probe(model, tokenizer, SENTENCES, SETTINGS), posterior, 10), again
    )  # fmt: skip


def test_another_measurement_is_no_second_probe(tmp_path: Path) -> None:
    model, tokenizer = tiny_model(tmp_path, std=0.1), tiny_tokenizer()
    table = mastery_table.probe(Probe(model, tokenizer, SENTENCES, SETTINGS), facts_table(("test",), 1))
    with pytest.raises(DataError, match=r"trials a fact, the second probe .*; give the templates and probing settings"):
        retest.probe_again(Probe(model, tokenizer, SENTENCES, SETTINGS.model_copy(update={"samples": 3})), table, 2)
