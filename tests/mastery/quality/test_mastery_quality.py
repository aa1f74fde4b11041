"""The stage by hand, on a real tiny model: what it writes, what it needs, and what it refuses."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from probe_tables import SENTENCES, facts_table
from script_calls import ok, refused
from sftlens import files
from sftlens.mastery.quality.retest import COLUMNS as RETEST
from sftlens.models import checkpoints
from sftlens.results.collect import COLUMNS
from tiny import tiny_model, tiny_tokenizer

PROBING = ("--samples", 4, "--max-new-tokens", 6)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model, templates, exposures and a mastery table."""
    folder = tmp_path_factory.mktemp("quality")
    checkpoints.save_model(tiny_model(folder / "model", std=0.1), tiny_tokenizer(), folder / "model")
    named = {relation: {"templates": sentences} for relation, sentences in SENTENCES.items()}
    (folder / "templates.yaml").write_text(yaml.safe_dump(named))
    facts = facts_table(subjects=5)
    files.write_parquet(folder / "facts.parquet", facts)
    known = facts.rename(columns={"split": "role"}).assign(exposure=range(len(facts)))
    files.write_parquet(folder / "exposures.parquet", known[["question", "role", "exposure"]])
    probe(folder, "mastery.py", "--facts", folder / "facts.parquet", "--out", folder / "mastery.parquet")
    return folder


def probe(folder: Path, script: str, *args: object) -> None:
    ok(script, "--model", folder / "model", "--templates", folder / "templates.yaml", *PROBING, *args)


def quality(folder: Path, out: Path, *args: object) -> dict:
    probe(folder, "mastery_quality.py", "--mastery", folder / "mastery.parquet", "--out", out, *args)
    return json.loads((out / "summary.json").read_text())


def test_everything_at_once(here: Path, tmp_path: Path) -> None:
    summary = quality(
        here, tmp_path, "--retest", 12, "--answer-probability", "--exposures", here / "exposures.parquet"
    )  # fmt: skip
    assert all(row.keys() <= COLUMNS.keys() for row in summary["metrics"])
    assert {row["metric"] for row in summary["metrics"]} >= {
        "prior_zero", "posterior_facts", "variance_fact", "reliability", "retest_agreement", "expected_agreement",
        "kappa", "mastery_by_exposure", "exposure_spearman", "mastery_by_probability", "probability_ece",
    }  # fmt: skip
    assert summary["settings"]["retest"] == 12 and "run" in summary
    again = pd.read_parquet(tmp_path / "retest.parquet")
    assert tuple(again.columns) == RETEST and len(again) == 12
    table = pd.read_parquet(here / "mastery.parquet")
    found = again.merge(table, on="fact_id", suffixes=("", "_table"))
    assert (found["hits"] == found["hits_table"]).all() and (again["hits"] != again["retest_hits"]).any()
    probabilities = pd.read_parquet(tmp_path / "answer_probability.parquet")
    assert probabilities["fact_id"].tolist() == table["fact_id"].tolist()


def test_without_a_model_the_table_speaks_for_itself(here: Path, tmp_path: Path) -> None:
    ok("mastery_quality.py", "--mastery", here / "mastery.parquet", "--retest", 0, "--out", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]
    metrics = {row["metric"] for row in json.loads((tmp_path / "summary.json").read_text())["metrics"]}
    assert "posterior_facts" in metrics and not any(name.startswith("retest") for name in metrics)
    with pytest.raises(SystemExit):
        ok("mastery_quality.py", "--mastery", here / "mastery.parquet", "--out", tmp_path)


def test_finished_work_is_published_again_and_equal_work_is_equal(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = quality(here, tmp_path / "a", "--retest", 6, "--state", tmp_path / "state")
    assert "nothing it depends on has changed" not in capsys.readouterr().err
    second = quality(here, tmp_path / "b", "--retest", 6, "--state", tmp_path / "state")
    assert "nothing it depends on has changed" in capsys.readouterr().err
    fresh = quality(here, tmp_path / "c", "--retest", 6)
    assert first["metrics"] == second["metrics"] == fresh["metrics"]
    assert (tmp_path / "a/retest.parquet").read_bytes() == (tmp_path / "c/retest.parquet").read_bytes()


def test_an_imported_table_without_templates_is_described_too(here: Path, tmp_path: Path) -> None:
    table = pd.read_parquet(here / "mastery.parquet").drop(columns="template_hits")
    files.write_parquet(tmp_path / "mine.parquet", table)
    ok("mastery_quality.py", "--mastery", tmp_path / "mine.parquet", "--retest", 0, "--out", tmp_path)
    metrics = {row["metric"] for row in json.loads((tmp_path / "summary.json").read_text())["metrics"]}
    assert "bucket_certainty" in metrics and "variance_fact" not in metrics


def test_what_is_asked_again_needs_a_subject(here: Path, tmp_path: Path) -> None:
    table = pd.read_parquet(here / "mastery.parquet").drop(columns="subject")
    files.write_parquet(tmp_path / "mine.parquet", table)
    given = ["--model", here / "model", "--templates", here / "templates.yaml", *PROBING]
    for asked in (["--retest", 3], ["--retest", 0, "--answer-probability"]):
        command = ["--mastery", tmp_path / "mine.parquet", *given, *asked, "--out", tmp_path / "out"]
        message = refused("mastery_quality.py", *command)
        assert f"{tmp_path / 'mine.parquet'}: column 'subject' is missing" in message
    ok("mastery_quality.py", "--mastery", tmp_path / "mine.parquet", "--retest", 0, "--out", tmp_path / "out")


def test_what_does_not_belong_together_is_refused(here: Path, tmp_path: Path) -> None:
    common = ("mastery_quality.py", "--mastery", here / "mastery.parquet", "--out", tmp_path / "out")
    model = ("--model", here / "model", "--templates", here / "templates.yaml", "--retest", 3)
    assert "trials a fact" in refused(*common, *model, "--samples", 3, "--max-new-tokens", 6)
    exposures = pd.read_parquet(here / "exposures.parquet").head(3)
    files.write_parquet(tmp_path / "other.parquet", exposures)
    message = refused(*common, "--retest", 0, "--exposures", tmp_path / "other.parquet")
    assert "has no exposure" in message and "exposures.parquet" in message
    files.write_parquet(tmp_path / "bare.parquet", exposures)
    message = refused("mastery_quality.py", "--mastery", tmp_path / "bare.parquet", "--retest", 0, "--out", tmp_path)
    assert "column 'split' is missing" in message
    assert not (tmp_path / "out").exists()
