"""The results of each stage stay what they are, or their number is raised (runtime/result_version)."""

import copy
from pathlib import Path

import pytest
import renew
import stage_results

from sftlens.runtime.result_version import RESULT_VERSION
from sftlens.tasks import closed_book_qa


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stage_results.prepare(tmp_path_factory.mktemp("golden") / "inputs")


@pytest.mark.parametrize("stage", RESULT_VERSION)
def test_results_change_with_their_number_only(inputs: Path, tmp_path: Path, stage: str) -> None:
    known = stage_results.read(stage)
    command = f"python tests/golden/renew.py {stage}"
    assert known, f"no results on record: {command}"
    assert known["version"] == RESULT_VERSION[stage], f"the number was raised: {command}"
    found = stage_results.differences(known["made"], stage_results.made(stage, inputs, tmp_path / "made"))
    assert not found, f"results of {stage} have changed: undo that, or raise its number and then {command}: {found[:5]}"


def test_a_change_of_meaning_is_noticed(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = stage_results.read("evaluate")
    assert known
    monkeypatch.setitem(closed_book_qa.JUDGED, "contains", lambda text, accepted: text.strip() in accepted)
    assert stage_results.differences(known["made"], stage_results.made("evaluate", inputs, tmp_path / "made"))


def test_rounding_is_no_difference_and_more_is() -> None:
    known = stage_results.read("divergence")
    assert known
    for factor, differs in ((1 + 1e-6, False), (1.01, True)):
        other = copy.deepcopy(known["made"])
        other["kl.parquet"]["kl"] = [value * factor for value in other["kl.parquet"]["kl"]]
        assert bool(stage_results.differences(known["made"], other)) is differs
    assert stage_results.differences(known["made"], {**known["made"], "more.parquet": {}})


def test_results_on_record_are_kept_until_the_number_is_raised() -> None:
    with pytest.raises(SystemExit, match="facts: raise its number in"):
        renew.main(["facts"])
