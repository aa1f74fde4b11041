"""A study that mixes results of several versions says so."""

from pathlib import Path

import pytest

from demo_study import demo
from sftlens import files
from sftlens.dag.cells import distinct
from sftlens.dag.paths import Paths
from sftlens.results import collect
from sftlens.runtime import provenance
from sftlens.runtime.result_version import RESULT_VERSION


def test_mixed_versions_are_counted_and_older_results_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = demo(experiments={"scaling": {"train_sets": ["D0"], "scales": [60], "seeds": [0], "shots": 0}})
    products = distinct(study)

    def write(stage: str, **changes: object) -> None:
        for product in products:
            if product.stage == stage:
                made = provenance.summary(stage, settings={}, inputs={}, metrics=[])
                files.write_json(Path(Paths(study).summary(product)), {**made, **changes})

    for stage in ("mastery", "finetune", "evaluate"):
        write(stage)
    assert collect.notes(study, products) == []
    count, evaluated = len(products), sum(product.stage == "evaluate" for product in products)

    now = provenance.circumstances()
    write("finetune", run={**now, "packages": {**now["packages"], "torch": "9.9"}})
    torch = now["packages"]["torch"]
    assert collect.notes(study, products) == [
        f"Results were made with different versions of torch {torch} ({count - 1} results), 9.9 (1 results)."
    ]

    before = RESULT_VERSION["evaluate"]
    monkeypatch.setitem(RESULT_VERSION, "evaluate", 70)
    older, _ = collect.notes(study, products)
    assert older.startswith(f"{evaluated} result(s) were made by an older version")
    assert f"tiny/D0/n60/seed0/full (evaluate {before}, now 70)" in older
    write("evaluate", schema=1)
    assert "evaluate" in collect.notes(study, products)[0]


def test_models_that_answered_in_different_types_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study continued on another machine: which type an answer was computed in decides its near-ties."""
    monkeypatch.chdir(tmp_path)
    study = demo(experiments={"scaling": {"train_sets": ["D0"], "scales": [60], "seeds": [0], "shots": 0}})
    products = distinct(study)
    for product in products:
        made = provenance.summary(product.stage, settings={}, inputs={}, metrics=[])
        trained, here = product.stage == "finetune", product.stage == "evaluate" and product.cell.trained
        made["run"][provenance.COMPUTED] = "float32" if trained or here else "bfloat16"
        files.write_json(Path(Paths(study).summary(product)), made)
    [said] = collect.notes(study, products)
    assert "answered in different types: bfloat16 (2 results), float32 (1 results)" in said
