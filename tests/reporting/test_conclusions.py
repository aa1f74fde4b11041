"""The sentences at the head of a report: each is the table's own number, and says no more than its interval allows."""

from typing import Any

import pandas as pd
import pytest

from fake_results import fake_results
from sftlens.reporting.conclusions import Sentence, conclusions
from sftlens.reporting.frames import BASE

SHOWN = pd.DataFrame({"a": [1]})
PLACE = {"Model": "tiny", "Strategy": "full", "n": "480", "Region": "transformer", "Scope": "over seeds"}


def contrast(trained_on: str, value: float, low: float, high: float, **more: Any) -> dict[str, Any]:
    given = {"Trained on": trained_on, "Test set": "OOD test", "Against": BASE, "Criterion": "", "Restored (%)": "0"}
    return PLACE | given | {"Difference (points)": value, "Low": low, "High": high} | more


def restored(trained_on: str, value: float, low: float, high: float, **more: Any) -> dict[str, Any]:
    given = {"Against": "k = 0", "Criterion": "relative", "Restored (%)": "20"}
    return contrast(trained_on, value, low, high, **given | more)


def said(rows: list[dict[str, Any]], results: pd.DataFrame | None = None, **numbers: pd.DataFrame) -> list[Sentence]:
    results = fake_results().iloc[:0] if results is None else results
    return conclusions(results, {"contrasts": pd.DataFrame(rows), "cost": SHOWN, "gains": SHOWN, **numbers})


def test_the_cost_is_the_largest_loss_with_its_interval():
    first, *_ = said(
        [contrast("D0", -19.1, -22.6, -15.7), contrast("D4", 20.3, 16.9, 23.7), contrast("D1", -3, -4, -2)]
    )
    assert first.text == (
        "Fine-tuning cost most on D0, n = 480, OOD test: −19.1 points (−22.6 to −15.7) against the base model. "
        "It gained most on D4, n = 480, OOD test: +20.3 points (16.9 to 23.7)."
    )
    assert first.target == "cost"


def test_a_sentence_leads_to_what_the_page_shows_or_nowhere():
    rows = [contrast("D0", -19.1, -22.6, -15.7)]
    assert said(rows, cost=SHOWN.iloc[:0], fig2=SHOWN)[0].target == "fig2"
    assert said(rows, cost=SHOWN.iloc[:0])[0].target == "contrasts"


def test_a_loss_within_its_interval_is_said_to_be_one():
    first, *_ = said([contrast("D0", -1.0, -3.0, 1.0)])
    assert "(the interval includes no change). It gained nowhere." in first.text


def test_a_study_in_which_nothing_was_lost_says_so():
    first, *_ = said([contrast("D0", 2.0, 1.0, 3.0)])
    assert first.text.startswith("No training set lowered accuracy")


@pytest.mark.parametrize(
    ("again", "words"),
    [(0.10, "so knowledge was lost"), (0.36, "the knowledge is still there"), (0.25, "does not tell whether")],
)
def test_knowledge_or_format(again, words):
    axes = {"model": "tiny", "train_set": "D0", "scale": "480", "stage": "evaluate", "relation": "", "bucket": "macro"}
    rows = [
        {"metric": "well_formed", "split": "testood", "value": 0.5, "low": 0.4, "high": 0.6},
        {"metric": "reprobed_mastery", "split": "test", "value": again, "low": again - 0.05, "high": again + 0.05},
        {"metric": "base_mastery", "split": "test", "value": 0.27, "low": 0.2, "high": 0.3},
    ]
    _, second, *_ = said([contrast("D0", -19, -22, -15)], pd.DataFrame([axes | row for row in rows]))
    assert "50 % of the answers are well-formed" in second.text and words in second.text


def test_the_best_remedy_comes_with_its_price():
    rows = [restored("D0", 10, 8, 12), restored("D4", -5, -6, -4), restored("D1", 3, 2, 4, **{"Restored (%)": "60"})]
    (found,) = (part for part in said(rows) if part.target == "gains")
    assert "Restoring 20 % of the parameters (relative) gave most back on D0" in found.text
    assert "the same setting costs D4, n = 480, OOD test −5.0 points (−6.0 to −4.0)" in found.text
    (found,) = (part for part in said([restored("D0", 1, -1, 3)]) if part.target == "gains")
    assert found.text.startswith("Restoring helped nowhere for sure")


def test_a_gain_within_its_interval_does_not_hide_a_sure_one():
    rows = [restored("D0", 3.9, -5.4, 13.2), restored("D4", 2.8, 0.1, 5.4, Criterion="interpolation")]
    (found,) = (part for part in said(rows) if part.target == "gains")
    assert found.text.startswith("Moving all parameters towards the base (interpolation, as far as k = 20) gave most")
    assert "back on D4" in found.text and "With their intervals 1 of 2 differences are above zero" in found.text


def test_a_strategy_is_named():
    first, *_ = said([contrast("mixed", 8.4, 0.1, 16.8, Strategy="lora@3e-05"), contrast("D0", 42, 31, 52)])
    assert "+8.4 points (0.1 to 16.8) on mixed (lora@3e-05), n = 480" in first.text


def test_a_test_set_with_an_empty_bucket_is_named():
    results = fake_results()
    whole = (results["split"] == "testood") & results["bucket"].isin(["macro", "D4"])
    last = said([contrast("D0", -1, -2, 0)], results[~whole])[-1]
    assert "no mean over the buckets on OOD test, as no question of it is in D4" in last.text


def test_a_training_set_of_one_bucket_lacks_no_mean():
    results = fake_results()
    own = results[(results["split"] == "train") & (results["metric"] == "contains") & (results["stage"] == "evaluate")]
    last = said([contrast("D0", -1, -2, 0)], pd.concat([results, own.assign(bucket=own["train_set"])]))[-1]
    assert "no mean over the buckets" not in last.text
    assert "no mean" not in said([contrast("D0", -1, -2, 0)], results)[-1].text


@pytest.mark.parametrize(("null", "words"), [(69.0, "is arithmetic"), (50.0, "more concentrated than chance")])
def test_concentration_is_judged_against_the_permuted_change(null, words):
    kinds = {"as trained": 70.0, "permuted": null}
    rows = [{"Model": "tiny", "Sum of": "r", "Changes": kind, "Top 1 %": value} for kind, value in kinds.items()]
    found = said([contrast("D0", -1, -2, 0)], table3=pd.DataFrame(rows))
    assert any(words in part.text and "top 1 %" in part.text for part in found)


def test_shares_close_to_all_do_not_look_as_if_they_differed():
    kinds = {"as trained": 99.94, "permuted": 99.95}
    rows = [{"Model": "tiny", "Sum of": "r", "Changes": kind, "Top 1 %": value} for kind, value in kinds.items()]
    found = said([contrast("D0", -1, -2, 0)], table3=pd.DataFrame(rows))
    assert any("99.94 % of the relative change, and 99.95 %" in part.text for part in found)


def test_what_the_study_cannot_say():
    alone = [contrast("D0", -1, -2, 0, Scope="this model only")]
    last = said(alone, table4=pd.DataFrame({"a": [1]}))[-1]
    assert "these trained models alone" in last.text and "without a control" in last.text and last.target == ""
    random = restored("D0", 1, 0, 2, Criterion="random")
    assert "control" not in said([contrast("D0", -1, -2, 0), random], table4=pd.DataFrame({"a": [1]}))[-1].text


def test_verdicts_are_counted_and_two_models_named():
    claims = pd.DataFrame({"Verdict in this world": ["reproduced", "undecided", "reproduced"]})
    rows = [contrast("D0", -1, -2, 0), contrast("D0", -2, -3, -1, Model="large")]
    found = said(rows, claims=claims)
    assert [part.text.split(":")[0] for part in found[:2]] == ["tiny", "large"]
    assert any("3 tests of the paper's claims: 2 reproduced, 1 undecided in this world." in part.text for part in found)


def test_no_results_give_no_sentence():
    assert conclusions(fake_results().iloc[:0], {}) == []
