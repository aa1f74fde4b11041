"""The decision rule: above, below, neither; parts that must all hold; what blocks a verdict."""

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from sftlens.paper import primaries, verdicts
from sftlens.paper.claims import specification
from sftlens.paper.evidence import Missing, Part

SPEC = specification()


@pytest.fixture
def judged(monkeypatch):
    """Judge a claim whose parts are given."""

    def judge(*parts: Part | Missing) -> verdicts.Verdict:
        def primary(*_: Any) -> Sequence[Part]:
            if isinstance(parts[0], Missing):
                raise parts[0]
            return parts  # type: ignore[return-value]

        monkeypatch.setitem(primaries.PRIMARIES, "C1", primary)
        return verdicts.judge("C1", SimpleNamespace(model="m"), "test", SPEC)

    return judge


def part(value: float, se: float = 0.1, seeds: int = 5, threshold: float = 1.0, label: str = "") -> Part:
    return Part(value, se, 50, seeds, threshold, label)


def test_a_single_part(judged):
    assert judged(part(2.0)).verdict == verdicts.REPRODUCED
    assert judged(part(0.0)).verdict == verdicts.NOT
    assert judged(part(1.1)).verdict == verdicts.UNDECIDED
    found = judged(part(2.0))
    # Simultaneous over the twelve claims: wider than the 2.01 standard errors of a single interval.
    assert (found.high - found.effect) / 0.1 == pytest.approx(3.0, abs=0.1)


def test_all_parts_must_hold(judged):
    assert judged(part(2.0), part(3.0)).verdict == verdicts.REPRODUCED
    assert judged(part(2.0), part(1.1)).verdict == verdicts.UNDECIDED
    found = judged(part(2.0), part(0.0, label="D3"))
    assert (found.verdict, found.label, found.effect) == (verdicts.NOT, "D3", 0.0)
    # One part of many just below its threshold is what chance brings: "not" is corrected for their number.
    close = part(0.69)
    assert judged(close).verdict == verdicts.NOT
    assert judged(close, *[part(2.0)] * 24).verdict == verdicts.UNDECIDED


def test_what_allows_no_verdict(judged):
    few = judged(part(5.0, seeds=2))
    assert (few.verdict, few.why, few.effect) == (verdicts.NOT_TESTABLE, "fewer than 3 seeds", 5.0)
    assert judged(part(5.0, se=math.nan, seeds=0)).verdict == verdicts.EFFECT_ONLY
    lost = judged(Missing("failed or unfinished: D3, n = 240, seed 1"))
    assert (lost.verdict, lost.why) == (verdicts.NOT_TESTABLE, "failed or unfinished: D3, n = 240, seed 1")


def test_an_interval_of_a_correlation():
    low, high = Part(0.9, 0.2, math.inf, 5, scale="fisher").interval(0.05)
    assert (low, high) == pytest.approx(
        (math.tanh(math.atanh(0.9) - 1.96 * 0.2), math.tanh(math.atanh(0.9) + 0.392)), abs=1e-4
    )
