"""The paper's own numbers: what METHOD recomputed from them comes out of the data and of the claims' statistics."""

import hashlib

import pandas as pd
import pytest

from sftlens.paper import printed, verdicts
from sftlens.paper.claims import specification
from sftlens.paper.evidence import Term
from sftlens.paper.models import NAMES
from sftlens.paper.printed import Printed, curves
from sftlens.statistics import correlations

EIGHT = Printed("LLaMA-3-8B", 5)


def difference(model: str, split: str, one: tuple[str, int], other: tuple[str, int]) -> float:
    return Printed(model, 3).combine([Term(1, *one), Term(-1, *other)], split).value


def test_what_hides_behind_up_to_14_percent():
    assert difference("LLaMA-3-8B", "test", ("D2", 240), ("D0", 1920)) == pytest.approx(13.69, abs=0.005)
    assert difference("LLaMA-3-8B", "test", ("D0", 240), ("D0", 1920)) == pytest.approx(8.86, abs=0.005)
    assert difference("LLaMA-3-70B", "test", ("D0", 240), ("D0", 1920)) == pytest.approx(15.26, abs=0.005)
    assert difference("LLaMA-2-70B", "testood", ("D0", 1920), ("D0", 240)) == pytest.approx(5.68, abs=0.005)
    assert difference("LLaMA-3-8B", "test", ("D2", 1920), ("D0", 1920)) == pytest.approx(12.06, abs=0.005)


def test_where_the_curves_are_highest():
    rows = curves()
    rows = rows[rows["scale"] != "all"]
    best = rows.loc[rows.groupby(["model", "split", "train_set"])["value"].idxmax()]
    best = best.groupby([best["model"].str[:7], "scale"]).size()
    assert (best["LLaMA-3", "240"], best["LLaMA-3"].sum()) == (13, 20)
    assert (best["LLaMA-2", "240"], best["LLaMA-2"].sum()) == (5, 30)


def test_divergence_and_accuracy_of_the_paper():
    cells = printed.point_curves("Fig5").merge(printed.point_curves("Fig4"), on=["train_set", "scale"])
    assert len(cells) == 35
    assert correlations.pearson(cells["value_x"], cells["value_y"])[0] == pytest.approx(-0.957, abs=0.0005)
    numbered = cells[cells["scale"] != "all"]
    rest = numbered[["value_x", "value_y"]] - numbered.groupby("train_set")[["value_x", "value_y"]].transform("mean")
    assert correlations.pearson(rest["value_x"], rest["value_y"])[0] == pytest.approx(-0.746, abs=0.0005)


def test_what_restoring_gives_in_table_4():
    def gain(name: str, n: int, split: str) -> float:
        return EIGHT.combine([Term(1, name, n, 20), Term(-1, name, n)], split).value

    assert all(gain(f"D{i}", 1920, "test") > 0 for i in range(5))
    assert gain("D4", 240, "test") == pytest.approx(-7.52, abs=0.005)
    assert gain("D4", 240, "testood") == pytest.approx(-7.56, abs=0.005)
    largest = EIGHT.combine([Term(1, "D0", 1920, 40), Term(-1, "D0", 1920)], "test").value
    assert largest == pytest.approx(10.48, abs=0.005)  # as printed


def test_the_paper_by_its_own_rule():
    """A mean over seeds gets a verdict, a single run an effect, a band that was copied none."""
    evidence = [Printed(model, repeats) for model in NAMES for repeats in printed.REPEATS]
    found = {(v.claim, v.model, v.tested_on, e.repeats): v for e in evidence for v in verdicts.verdicts(e)}
    assert found["C1", "LLaMA-3-8B", "test", 3].verdict == verdicts.REPRODUCED
    assert found["C1", "LLaMA-2-70B", "testood", 5].verdict == verdicts.NOT
    assert found["C1", "LLaMA-2-7B", "testood", 5].verdict == verdicts.EFFECT_ONLY  # Figure 6b's band
    assert found["C3", "LLaMA-2-13B", "test", 3].verdict == verdicts.UNDECIDED
    assert found["C3", "LLaMA-2-13B", "test", 5].verdict == verdicts.REPRODUCED
    assert found["C7", "LLaMA-3-8B", "test", 5].verdict == verdicts.EFFECT_ONLY
    assert found["C7", "LLaMA-3-8B", "test", 5].second == "5 of 5 buckets gain"
    assert found["C5", "LLaMA-3-8B", "parameters", 5].why == "the paper has no permuted null"
    assert found["C7", "LLaMA-2-7B", "test", 5].verdict == verdicts.NOT_TESTABLE
    assert found["C10", "LLaMA-3-8B", "tasks", 3].effect == pytest.approx(1.91)
    assert found["C12", "LLaMA-3-8B", "test", 3].effect == pytest.approx(3.41)


def test_the_numbers_are_all_there():
    assert len(curves()) == 5 * 2 * 5 * 7
    assert printed.read("table1").groupby("model")[["D0", "D1", "D2", "D3", "D4"]].sum().sum(axis=1).eq(97112).all()
    assert curves()["sd"].isna().sum() == 50 + 5 * 6  # the scale `all` has one run; Figure 6b


def test_the_specification_is_hashed_by_content():
    spec = specification()
    assert len(spec.claims) == 12 and spec.alpha == pytest.approx(0.05 / 12)
    assert spec.sha256 == specification.__wrapped__().sha256
    assert spec.model_copy(update={"delta": 2.0}).sha256 != spec.sha256
    assert len(spec.sha256) == len(hashlib.sha256().hexdigest())
    assert isinstance(printed.read("table7"), pd.DataFrame)
