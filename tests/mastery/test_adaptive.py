"""Adaptive probing against the fixed protocol, where the rates of the facts are known."""

import numpy as np
import pandas as pd
import pytest

from sftlens.data.buckets import BUCKETS, bucket
from sftlens.mastery import adaptive, mastery_table, rounds
from sftlens.mastery.adaptive import Calibration, Evidence
from sftlens.mastery.quality import retest

SAMPLES, TEMPLATES, FACTS = 10, 7, 3000
CALIBRATION = Calibration(-3.0, 0.7, 1.2)


def population(random: np.random.Generator, facts: int = FACTS) -> tuple[np.ndarray, np.ndarray]:
    """Return l_t and p_t, [facts, templates] each: many unknown facts, templates that differ, q with heavy tails."""
    centre = random.choice([-8.0, -3.0, 0.0, 2.0], facts, p=[0.4, 0.25, 0.2, 0.15]) + random.normal(0, 1, facts)
    least = 1 / (1 + np.exp(-(centre[:, None] + random.normal(0, 0.8, (facts, TEMPLATES)))))
    logits = np.log(least.mean(1) / (1 - least.mean(1)))
    shift = CALIBRATION.level + CALIBRATION.slope * logits + CALIBRATION.spread * random.standard_t(4, facts)
    rest = 1 / (1 + np.exp(-(shift[:, None] + random.normal(0, 0.5, (facts, TEMPLATES)))))
    return least, least + (1 - least) * rest


def full_probe(random: np.random.Generator, least: np.ndarray, rates: np.ndarray) -> list[rounds.Found]:
    hits = random.binomial(SAMPLES, rates)
    return [
        {"template_hits": h.tolist(), "template_trials": [SAMPLES] * TEMPLATES, "template_probabilities": p.tolist()}
        for h, p in zip(hits, least, strict=True)
    ]


def numbers(found: list[rounds.Found]) -> np.ndarray:
    shares = [sum(fact["template_hits"]) / (SAMPLES * TEMPLATES) for fact in found]
    return np.array([BUCKETS.index(bucket(share)) for share in shares])


def confusion(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    counts = np.zeros((len(BUCKETS), len(BUCKETS)))
    np.add.at(counts, (first, second), 1)
    return counts


@pytest.fixture(scope="module")
def simulated() -> dict[str, np.ndarray]:
    """Three full probes of one population, and the rule on the samples of each with a calibration of 200 facts."""
    random = np.random.default_rng(0)
    least, rates = population(random)
    probes = [full_probe(random, least, rates) for _ in range(3)]
    chances, ended = [], []
    for number, probe in enumerate(probes):
        calibration = adaptive.fit([adaptive.gathered(probe[:200])])
        found, drawn = rounds.replayed(probe, calibration, SAMPLES, 1.0, seed=number)
        chances.append(found)
        ended.append(drawn == TEMPLATES * SAMPLES)
    medians = [(of.cumsum(1) < 0.5).sum(1).clip(max=4) for of in chances]
    full = np.array([numbers(probe) for probe in probes])
    return {"full": full, "chances": np.array(chances), "adaptive": np.array(medians), "ended": np.array(ended)}


def test_adaptive_agrees_with_full_probes_as_well_as_they_do(simulated: dict[str, np.ndarray]) -> None:
    full, found = simulated["full"], simulated["adaptive"]
    others = [(i, j) for i in range(3) for j in range(3) if i != j]
    twice = sum(confusion(full[i], full[j]) for i, j in others)
    once = sum(confusion(found[i], full[j]) for i, j in others)
    again, first = retest.agreement(twice), retest.agreement(once)
    assert first["retest_agreement"] >= again["retest_agreement"] and first["kappa"] >= again["kappa"]
    # Per bucket: of the facts that a full probe puts there, and of those that the rule puts there; 0.02 is chance.
    for margin in (0, 1):
        assert (np.diag(once) / once.sum(margin) >= np.diag(twice) / twice.sum(margin) - 0.02).all()


def test_probabilities_are_those_of_a_full_probe_and_sizes_unbiased(simulated: dict[str, np.ndarray]) -> None:
    full, chances = simulated["full"], simulated["chances"]
    for i in range(3):
        other, open_ = full[(i + 1) % 3], ~simulated["ended"][i]
        for number in range(len(BUCKETS)):
            given, came = chances[i, open_, number], other[open_] == number
            error = np.sqrt((given * (1 - given)).sum())
            assert abs(came.sum() - given.sum()) < 4 * error, (i, number)
            likely = given > 0.8
            assert came[likely].mean() > 0.7, (i, number)


def test_the_size_of_a_bucket_is_unbiased_whatever_the_calibration_is() -> None:
    random = np.random.default_rng(1)
    least, rates = population(random, 1000)
    wrong = Calibration(-1.0, 0.2, 0.5)  # far from the truth
    sums = []
    for seed in range(30):
        probe = full_probe(random, least, rates)
        true = numbers(probe)
        chosen = random.permutation(1000)[:200]
        chances, drawn = rounds.replayed(probe, wrong, SAMPLES, 1.0, seed=seed)
        names = np.array(BUCKETS)
        # A fact that was probed to its end is known; its posterior says less, and must not count.
        judged = np.where((drawn == TEMPLATES * SAMPLES)[:, None], 0.2, chances)
        posteriors = {f"posterior_{name}": judged[:, i] for i, name in enumerate(BUCKETS)}
        ids = [str(i) for i in range(1000)]
        measured = {"trials": drawn, "template_hits": [fact["template_hits"] for fact in probe], "bucket": names[true]}
        table = pd.DataFrame({"fact_id": ids, "split": "train", **measured, **posteriors})
        stopped = pd.DataFrame({"fact_id": ids, "split": "train", "bucket": names[true]}).iloc[chosen]
        stopped = stopped.assign(**{f"P_{name}": chances[chosen, i] for i, name in enumerate(BUCKETS)})
        rows = [row for row in rounds.metrics(table, stopped, SAMPLES) if row["metric"] == "facts_in_full"]
        sums.append([row["value"] - (true == i).sum() for i, row in enumerate(rows)])
    assert (drawn == TEMPLATES * SAMPLES).mean() > 0.1
    errors, biased = np.array(sums), (chances.sum(0) - np.bincount(true, minlength=5)) / 1000
    assert np.abs(biased).max() > 0.02  # the sum of the probabilities would be wrong
    assert (np.abs(errors.mean(0)) < 4 * errors.std(0, ddof=1) / np.sqrt(30)).all()


def test_intervals_hold_the_rate() -> None:
    random = np.random.default_rng(2)
    least, rates = population(random)
    probe = full_probe(random, least, rates)
    calibration = adaptive.fit([adaptive.gathered(probe[:200])])
    third = random.permuted(np.tile(np.arange(TEMPLATES) < 3, (FACTS, 1)), axis=1).astype(int)
    for trials in (third, np.ones_like(third), np.full_like(third, 4)):
        judged = adaptive.judge(Evidence(least, random.binomial(trials, rates), trials), calibration, SAMPLES)
        inside = (judged.low <= rates.mean(1)) & (rates.mean(1) <= judged.high)
        assert 0.93 <= inside.mean() <= 0.99
        assert abs((judged.mean - rates.mean(1)).mean()) < 0.01


def test_calibration_finds_what_was_put_in() -> None:
    random = np.random.default_rng(3)
    least, rates = population(random, 1500)
    found = adaptive.fit([adaptive.gathered(full_probe(random, least, rates))])
    assert found.level == pytest.approx(CALIBRATION.level, abs=0.4)
    assert found.slope == pytest.approx(CALIBRATION.slope, abs=0.15)
    assert found.spread == pytest.approx(CALIBRATION.spread, rel=0.25)


@pytest.mark.parametrize("least", [0.0, 0.3])
def test_chances_are_those_of_drawing_the_full_probe(least: float) -> None:
    """Against a full probe drawn from the posterior, on the grid, one rate for all templates."""
    evidence = Evidence(np.full((1, 7), least), np.array([[1, 0, 0, 0, 0, 0, 0]]), np.ones((1, 7), int))
    judged = adaptive.judge(evidence, CALIBRATION, SAMPLES)
    logit = np.log(max(least, 1e-7) / (1 - max(least, 1e-7)))
    rest = 1 / (1 + np.exp(-adaptive.GRID))
    rate = least + (1 - least) * rest
    scaled = (adaptive.GRID - CALIBRATION.level - CALIBRATION.slope * logit) / CALIBRATION.spread
    weights = (1 + scaled**2 / 4) ** -2.5 * rate * (1 - rate) ** 6
    random = np.random.default_rng(4)
    drawn = random.binomial(70, random.choice(rate, 200_000, p=weights / weights.sum()))
    shares = [
        np.mean([bucket(h / 70) == name for h in range(71)] @ np.bincount(drawn, minlength=71)) for name in BUCKETS
    ]
    assert judged.chances[0] == pytest.approx(np.array(shares) / len(drawn), abs=0.01)


def test_a_margin_costs_samples_and_none_is_as_sure_over_all_facts() -> None:
    random = np.random.default_rng(6)
    least, rates = population(random, 1000)
    first, second = full_probe(random, least, rates), full_probe(random, least, rates)
    calibration = adaptive.fit([adaptive.gathered(first[:200])])
    drawn, same = [], []
    for margin in (0.0, 1.0, 50.0):
        chances, trials = rounds.replayed(first, calibration, SAMPLES, margin)
        medians = (chances.cumsum(1) < 0.5).sum(1).clip(max=4)
        drawn.append(trials.mean() / SAMPLES / TEMPLATES)
        same.append((medians == numbers(second)).mean())
    assert drawn[0] < drawn[1] < drawn[2] and drawn[0] < 0.3
    assert same[0] >= (numbers(first) == numbers(second)).mean() - 0.01


def test_a_fact_that_is_never_decided_is_a_full_probe() -> None:
    for count, samples in ((21, 10), (7, 10), (1, 1), (2, 3), (1, 10)):
        trials = np.zeros(count, int)
        steps = list(rounds.plan(count, samples, np.random.default_rng(0).permutation(count).tolist()))
        for chosen, more in steps:
            trials[chosen] += more
        assert (trials == samples).all()
        assert sorted(steps[0][0] + steps[1][0]) == list(range(count))  # without replacement


def test_mastery_lies_in_the_bucket_by_the_papers_rule() -> None:
    random = np.random.default_rng(5)
    least, rates = population(random, 400)
    trials = np.ones((400, TEMPLATES), int)
    hits = random.binomial(trials, rates)
    facts = [
        {"template_hits": h.tolist(), "template_trials": t.tolist(), "template_probabilities": p.tolist()}
        for h, t, p in zip(hits, trials, least, strict=True)
    ]
    made = adaptive.columns(facts, CALIBRATION, SAMPLES)
    judged = adaptive.judge(adaptive.gathered(facts), CALIBRATION, SAMPLES)
    assert made["bucket"] == [bucket(share) for share in made["mastery"]]
    assert made["bucket"] == [BUCKETS[number] for number in judged.bucket]
    assert made["trials"].tolist() == [TEMPLATES] * 400


def test_the_best_template_is_that_of_the_largest_share() -> None:
    table = pd.DataFrame(
        {"relation": ["P17"] * 2, "template_hits": [[6, 2], [0, 1]], "template_trials": [[10, 2], [1, 1]]}
    )
    assert mastery_table.best_templates(table) == {"P17": 1}
    assert mastery_table.best_templates(table.drop(columns="template_trials")) == {"P17": 0}
